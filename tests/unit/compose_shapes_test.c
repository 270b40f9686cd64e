/* Compose files of the shapes that people have: what of them runs, and what is
 * beyond a node, all told at once. */
#include "compose_read.h"
#include "tap.h"

static const struct {
	const char *name, *yaml;
	unsigned n_apps;
} shapes[] = {
	{ "WordPress and MariaDB",
	  "services:\n"
	  "  wordpress:\n"
	  "    image: wordpress:6\n"
	  "    restart: always\n"
	  "    ports:\n"
	  "      - \"${WORDPRESS_PORT:-8080}:80\"\n"
	  "    environment:\n"
	  "      WORDPRESS_DB_HOST: db:3306\n"
	  "      WORDPRESS_DB_USER: &user wordpress\n"
	  "      WORDPRESS_DB_PASSWORD: ${DB_PASSWORD:-secret}\n"
	  "      WORDPRESS_DB_NAME: wordpress\n"
	  "    volumes:\n"
	  "      - wordpress:/var/www/html\n"
	  "    depends_on:\n"
	  "      db:\n"
	  "        condition: service_healthy\n"
	  "  db:\n"
	  "    image: mariadb:11\n"
	  "    restart: always\n"
	  "    command: --transaction-isolation=READ-COMMITTED\n"
	  "    environment:\n"
	  "      - MARIADB_DATABASE=wordpress\n"
	  "      - MARIADB_USER=wordpress\n"
	  "      - MARIADB_PASSWORD=${DB_PASSWORD:-secret}\n"
	  "      - MARIADB_RANDOM_ROOT_PASSWORD=1\n"
	  "    volumes:\n"
	  "      - db:/var/lib/mysql\n"
	  "    healthcheck:\n"
	  "      test: [\"CMD\", \"healthcheck.sh\", \"--connect\"]\n"
	  "      interval: 10s\n"
	  "      timeout: 5s\n"
	  "      retries: 6\n"
	  "      start_period: 30s\n"
	  "volumes:\n"
	  "  wordpress:\n"
	  "  db: {}\n",
	  2 },
	{ "nginx, an application and redis",
	  "version: \"3.8\"\n"
	  "x-service: &service\n"
	  "  restart: unless-stopped\n"
	  "  logging:\n"
	  "    driver: json-file\n"
	  "    options: {max-size: 10m, max-file: \"3\"}\n"
	  "  networks: [internal]\n"
	  "services:\n"
	  "  proxy:\n"
	  "    <<: *service\n"
	  "    image: nginx:alpine\n"
	  "    ports: [\"80:80\", \"443:443\"]\n"
	  "    configs:\n"
	  "      - source: site\n"
	  "        target: /etc/nginx/conf.d/default.conf\n"
	  "    tmpfs: [/var/cache/nginx, /run]\n"
	  "    read_only: true\n"
	  "    depends_on: [app]\n"
	  "  app:\n"
	  "    <<: *service\n"
	  "    image: registry.example.com/team/app:1.4.2\n"
	  "    user: \"1000:1000\"\n"
	  "    working_dir: /srv\n"
	  "    entrypoint: [\"/docker-entrypoint.sh\"]\n"
	  "    command: [\"gunicorn\", \"-b\", \"0.0.0.0:8000\"]\n"
	  "    environment: {REDIS_URL: \"redis://redis:6379/0\"}\n"
	  "    expose: [\"8000\"]\n"
	  "    cap_drop: [ALL]\n"
	  "    security_opt: [\"no-new-privileges:true\"]\n"
	  "    stop_grace_period: 30s\n"
	  "    deploy:\n"
	  "      resources:\n"
	  "        limits: {cpus: \"0.50\", memory: 256M}\n"
	  "    depends_on:\n"
	  "      redis: {condition: service_started}\n"
	  "  redis:\n"
	  "    <<: *service\n"
	  "    image: redis:7\n"
	  "    command: redis-server --save 60 1 --appendonly yes\n"
	  "    volumes: [\"redis-data:/data\"]\n"
	  "    sysctls: [net.core.somaxconn=1024]\n"
	  "configs:\n"
	  "  site:\n"
	  "    content: |\n"
	  "      server {\n"
	  "        listen 80;\n"
	  "        location / { proxy_pass http://app:8000; }\n"
	  "      }\n"
	  "networks:\n"
	  "  internal:\n"
	  "    driver: bridge\n"
	  "volumes:\n"
	  "  redis-data:\n"
	  "    driver: local\n",
	  3 },
	{ "Prometheus and its like",
	  "services:\n"
	  "  prometheus:\n"
	  "    image: prom/prometheus:v2.53.0\n"
	  "    container_name: prometheus\n"
	  "    command:\n"
	  "      - --config.file=/etc/prometheus/prometheus.yml\n"
	  "      - --storage.tsdb.path=/prometheus\n"
	  "      - --storage.tsdb.retention.time=15d\n"
	  "    user: nobody\n"
	  "    volumes:\n"
	  "      - type: volume\n"
	  "        source: prometheus\n"
	  "        target: /prometheus\n"
	  "    configs:\n"
	  "      - source: prometheus\n"
	  "        target: /etc/prometheus/prometheus.yml\n"
	  "        mode: 0444\n"
	  "    ports: [\"9090:9090\"]\n"
	  "    ulimits: {nofile: {soft: 65536, hard: 65536}}\n"
	  "    restart: unless-stopped\n"
	  "  grafana:\n"
	  "    image: grafana/grafana:11.1.0\n"
	  "    environment:\n"
	  "      - GF_SECURITY_ADMIN_PASSWORD=${GRAFANA_PASSWORD:-admin}\n"
	  "    volumes: [\"grafana:/var/lib/grafana\"]\n"
	  "    ports:\n"
	  "      - target: 3000\n"
	  "        published: \"3000\"\n"
	  "        protocol: tcp\n"
	  "    depends_on: [prometheus]\n"
	  "    healthcheck:\n"
	  "      test: wget -q --spider http://localhost:3000 || exit 1\n"
	  "      interval: 1m30s\n"
	  "  pushgateway:\n"
	  "    image: prom/pushgateway:v1.9.0\n"
	  "    profiles: [push]\n"
	  "configs:\n"
	  "  prometheus:\n"
	  "    content: |\n"
	  "      scrape_configs:\n"
	  "        - job_name: prometheus\n"
	  "          static_configs: [{targets: ['localhost:9090']}]\n"
	  "volumes: {prometheus: {x-zooid: {size: 2g}}, grafana: }\n",
	  2 },
	{ "Node-RED and a broker",
	  "name: home\n"
	  "services:\n"
	  "  nodered:\n"
	  "    image: nodered/node-red:latest\n"
	  "    environment:\n"
	  "      TZ: Europe/Berlin\n"
	  "    ports: [\"1880:1880\"]\n"
	  "    volumes: [\"nodered:/data\"]\n"
	  "    group_add: [\"20\"]\n"
	  "    extra_hosts: [\"plc:192.168.1.10\"]\n"
	  "    links: [broker]\n"
	  "    labels:\n"
	  "      com.example.role: flows\n"
	  "    init: false\n"
	  "    stop_signal: SIGINT\n"
	  "  broker:\n"
	  "    image: eclipse-mosquitto:2\n"
	  "    hostname: broker\n"
	  "    ports: [\"1883:1883\", \"9001-9002:9001-9002\"]\n"
	  "    volumes:\n"
	  "      - mosquitto:/mosquitto/data:rw\n"
	  "    shm_size: 64m\n"
	  "volumes:\n"
	  "  nodered:\n"
	  "  mosquitto:\n",
	  2 },
	{ "Nextcloud, its database and its cache",
	  "name: cloud\n"
	  "x-restart: &restart {restart: unless-stopped}\n"
	  "services:\n"
	  "  app: &app\n"
	  "    <<: *restart\n"
	  "    image: nextcloud:29-apache\n"
	  "    init: true\n"
	  "    ports: [\"127.0.0.1:8080:80\"]\n"
	  "    env_file: [{path: none.env, required: false}, web.env]\n"
	  "    environment:\n"
	  "      - MYSQL_HOST=db\n"
	  "      - MYSQL_PASSWORD_FILE=/run/secrets/db_password\n"
	  "      - REDIS_HOST=redis\n"
	  "      - TRUSTED=${TRUSTED_DOMAINS:-cloud.example.com}\n"
	  "    secrets: [db_password]\n"
	  "    volumes: [\"nextcloud:/var/www/html\"]\n"
	  "    depends_on:\n"
	  "      db: {condition: service_healthy, restart: false}\n"
	  "      redis: {condition: service_started, required: true}\n"
	  "  cron:\n"
	  "    <<: *app\n"
	  "    ports: []\n"
	  "    entrypoint: /cron.sh\n"
	  "    network_mode: service:app\n"
	  "    depends_on: [db]\n"
	  "  db:\n"
	  "    <<: *restart\n"
	  "    image: mariadb:11\n"
	  "    command: --log-bin --binlog-format=ROW\n"
	  "    environment: {MARIADB_PASSWORD_FILE: /run/secrets/db_password}\n"
	  "    secrets:\n"
	  "      - source: db_password\n"
	  "        mode: 0400\n"
	  "    volumes: [\"db:/var/lib/mysql\"]\n"
	  "    healthcheck:\n"
	  "      test: [CMD-SHELL, \"healthcheck.sh --connect\"]\n"
	  "      start_period: 1m\n"
	  "  redis: {<<: *restart, image: \"redis:7-alpine\"}\n"
	  "secrets:\n"
	  "  db_password: {file: ./secret}\n"
	  "volumes: {nextcloud: , db: }\n",
	  4 },
	{ "Wiki.js behind a proxy",
	  "services:\n"
	  "  db:\n"
	  "    image: postgres:15-alpine\n"
	  "    environment: {POSTGRES_DB: wiki, POSTGRES_PASSWORD: rocks}\n"
	  "    logging:\n"
	  "      driver: none\n"
	  "    networks: {internal: {ipv4_address: 172.20.0.2}}\n"
	  "    volumes: [\"db-data:/var/lib/postgresql/data\"]\n"
	  "  wiki:\n"
	  "    image: ghcr.io/requarks/wiki:2\n"
	  "    depends_on: [db]\n"
	  "    environment: {DB_HOST: db, DB_PORT: 5432}\n"
	  "    networks: [proxy, internal]\n"
	  "    extra_hosts: [\"host.docker.internal:host-gateway\"]\n"
	  "    ports: [\"80:3000\"]\n"
	  "    deploy: {placement: {constraints: [node.role == worker]}}\n"
	  "networks:\n"
	  "  proxy: {external: true}\n"
	  "  internal:\n"
	  "    internal: true\n"
	  "    ipam: {config: [{subnet: 172.20.0.0/24}]}\n"
	  "volumes: {db-data: }\n",
	  2 },
	{ "a broker with its file",
	  "services:\n"
	  "  mosquitto:\n"
	  "    image: eclipse-mosquitto:2\n"
	  "    user: \"1883:1883\"\n"
	  "    volumes:\n"
	  "      - ./nginx.conf:/mosquitto/config/mosquitto.conf:ro\n"
	  "      - data:/mosquitto/data\n"
	  "    ports: [\"1883:1883\"]\n"
	  "  nodered:\n"
	  "    image: nodered/node-red:4.0\n"
	  "    environment: [TZ=Europe/Berlin]\n"
	  "    ports: [{target: 1880, published: \"1880\", mode: host}]\n"
	  "    volumes: [\"nodered:/data\"]\n"
	  "    depends_on: [mosquitto]\n"
	  "volumes: {data: , nodered: }\n",
	  2 },
};

/* What of those shapes is beyond a node, all of it told at once. */
static const struct {
	const char *name, *yaml, *lines[6], *grants[6];
} beyond[] = {
	{ "Home Assistant",
	  "services:\n"
	  "  homeassistant:\n"
	  "    container_name: homeassistant\n"
	  "    image: ghcr.io/home-assistant/home-assistant:stable\n"
	  "    volumes:\n"
	  "      - config:/config\n"
	  "      - /etc/localtime:/etc/localtime:ro\n"
	  "      - /run/dbus:/run/dbus:ro\n"
	  "    restart: unless-stopped\n"
	  "    privileged: true\n"
	  "    network_mode: host\n"
	  "    devices:\n"
	  "      - /dev/ttyACM0:/dev/ttyACM0\n"
	  "volumes: {config: }\n",
	  { "f:10: services.homeassistant.privileged: needs --grant "
	    "privileged",
	    "f:11: services.homeassistant.network_mode: needs --grant "
	    "network:host",
	    "f:13: services.homeassistant.devices[0]: needs --grant "
	    "device:/dev/ttyACM0 (better a name beneath by-id or by-path, "
	    "which "
	    "stays)" },
	  { "privileged", "network:host" } },
	{ "Frigate",
	  "services:\n"
	  "  frigate:\n"
	  "    privileged: true # this may not be necessary for all setups\n"
	  "    image: ghcr.io/blakeblackshear/frigate:stable\n"
	  "    shm_size: \"512mb\"\n"
	  "    devices:\n"
	  "      - /dev/bus/usb:/dev/bus/usb\n"
	  "      - /dev/dri/renderD128:/dev/dri/renderD128\n"
	  "    volumes:\n"
	  "      - config:/config\n"
	  "      - {type: tmpfs, target: /tmp/cache, tmpfs: {size: "
	  "1000000000}}\n"
	  "    ports: [\"8971:8971\", \"8555:8555/udp\"]\n"
	  "volumes: {config: }\n",
	  { "f:3: services.frigate.privileged: needs --grant privileged",
	    "f:8: services.frigate.devices[1]: needs --grant "
	    "device:/dev/dri/renderD128" },
	  { "privileged", "device:/dev/dri/renderD128" } },
	{ "Pi-hole",
	  "services:\n"
	  "  pihole:\n"
	  "    container_name: pihole\n"
	  "    image: pihole/pihole:latest\n"
	  "    ports: [\"53:53/tcp\", \"53:53/udp\", \"80:80/tcp\"]\n"
	  "    environment:\n"
	  "      FTLCONF_dns_listeningMode: 'ALL'\n"
	  "    volumes: ['./etc-pihole:/etc/pihole']\n"
	  "    dns: [127.0.0.1, 1.1.1.1]\n"
	  "    cap_add: [NET_ADMIN, SYS_TIME]\n"
	  "    restart: unless-stopped\n",
	  { "f:10: services.pihole.cap_add[1]: needs --grant "
	    "capability:SYS_TIME" },
	  { "capability:NET_ADMIN", "capability:SYS_TIME" } },
	{ "node-exporter",
	  "services:\n"
	  "  exporter:\n"
	  "    image: quay.io/prometheus/node-exporter:latest\n"
	  "    command: [--path.rootfs=/host]\n"
	  "    network_mode: host\n"
	  "    pid: host\n"
	  "    volumes: [\"/:/host:ro,rslave\"]\n",
	  { "f:5: services.exporter.network_mode: needs --grant network:host",
	    "f:6: services.exporter.pid: needs --grant pid:host",
	    "f:7: services.exporter.volumes[0]: needs --grant "
	    "bind:/:ro:/host" },
	  { "network:host", "pid:host", "bind:/:ro:/host" } },
};

/* With what the lines ask for it is taken. */
static void given_test(size_t i, struct compose *c)
{
	const char *const yaml[] = { beyond[i].yaml, NULL };
	int err = read_files_granting(yaml, beyond[i].grants, c);

	for (unsigned k = 0; k < c->problems.n; k++)
		printf("# %s\n", c->problems.line[k]);
	ok(err == 0 && hub_takes(c->apps), "%s, granted", beyond[i].name);
	compose_end(c);
}

static void beyond_test(void)
{
	struct compose *c = calloc(1, sizeof(*c));

	for (size_t i = 0; i < sizeof(beyond) / sizeof(*beyond); i++) {
		const char *const yaml[] = { beyond[i].yaml, NULL };
		int err = read_files(yaml, c);
		unsigned n = 0;

		while (n < 6 && beyond[i].lines[n])
			n++;
		ok(err == -EINVAL && c->problems.n == n, "%s: %u problems",
		   beyond[i].name, c->problems.n);
		for (unsigned k = 0; k < n && k < c->problems.n; k++)
			ok(!strcmp(c->problems.line[k], beyond[i].lines[k]),
			   "%s", c->problems.line[k]);
		compose_end(c);
		given_test(i, c);
	}
	free(c);
}

static void shapes_test(void)
{
	struct compose *c = calloc(1, sizeof(*c));

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		const char *const yaml[] = { shapes[i].yaml, NULL };
		int err = read_files(yaml, c);

		if (err)
			printf("# %s\n", c->problems.line[0]);
		ok(err == 0 &&
			   yyjson_mut_arr_size(yyjson_mut_doc_get_root(
				   c->apps)) == shapes[i].n_apps &&
			   hub_takes(c->apps),
		   "%s", shapes[i].name);
		compose_end(c);
	}
	free(c);
}

int main(void)
{
	shapes_test();
	beyond_test();
	return tap_done();
}
