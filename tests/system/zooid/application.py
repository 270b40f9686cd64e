"""Applications that people have, as OCI images made of this Debian's packages:
nginx, redis, MariaDB and WordPress with PHP. What is downloaded and made lies
in the cache, by the versions of the packages."""

import fcntl
import hashlib
import pathlib
import re
import shutil
import subprocess
import tempfile

from . import debian
from .disk import run
from .image import pack

NGINX = """daemon off;
error_log /dev/stderr;
pid /run/nginx.pid;
events { }
http {
  access_log off;
  # Named when it is asked for, not when nginx starts.
  resolver RESOLVER valid=5s;
  server {
    listen 80;
    location = /client { return 200 "$remote_addr\\n"; }
    location = /called { return 200 "$proxy_protocol_addr\\n"; }
    location / {
      set $to UPSTREAM;
      proxy_pass http://$to;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
    }
  }
}
"""

MARIADB = """#!/bin/sh
# As the well-known image: makes a database on an empty volume, then serves it.
set -e
data=/var/lib/mysql
if [ ! -d $data/mysql ]; then
	mariadb-install-db --user=mysql --datadir=$data --skip-test-db \\
		--auth-root-authentication-method=normal >/dev/null
	{
		echo "create database if not exists $MARIADB_DATABASE;"
		echo "create user if not exists '$MARIADB_USER'@'%' identified by" \\
			"'$MARIADB_PASSWORD';"
		echo "grant all on $MARIADB_DATABASE.* to '$MARIADB_USER'@'%';"
	} >$data/first.sql
	sync
fi
first=
[ ! -e $data/first.sql ] || first=--init-file=$data/first.sql
mkdir -p /run/mysqld
chown mysql /run/mysqld $data/first.sql 2>/dev/null || true
exec mariadbd --user=mysql --datadir=$data --bind-address=0.0.0.0 \\
	--innodb-buffer-pool-size=16M $first
"""

WORDPRESS = """<?php
define('DB_NAME', getenv('WORDPRESS_DB_NAME'));
define('DB_USER', getenv('WORDPRESS_DB_USER'));
define('DB_PASSWORD', getenv('WORDPRESS_DB_PASSWORD'));
define('DB_HOST', getenv('WORDPRESS_DB_HOST'));
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
foreach (['AUTH_KEY', 'SECURE_AUTH_KEY', 'LOGGED_IN_KEY', 'NONCE_KEY',
	'AUTH_SALT', 'SECURE_AUTH_SALT', 'LOGGED_IN_SALT', 'NONCE_SALT'] as $k)
	define($k, hash('sha256', $k . getenv('WORDPRESS_SALT')));
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('DISABLE_WP_CRON', true);
// As it is asked for: the port of a test's node is another after each boot.
define('WP_HOME', 'http://' . ($_SERVER['HTTP_HOST'] ?? 'localhost'));
define('WP_SITEURL', WP_HOME);
$table_prefix = 'wp_';
if (!defined('ABSPATH'))
	define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
"""

# Essential ones, on which nobody depends by name.
BASE = ["base-files", "base-passwd", "coreutils", "dash", "grep", "hostname",
        "sed"]
# Packages, files {path: (mode, text)}, users {name: id}, umoci's flags.
IMAGES = {
    "nginx": (["nginx-light"], {}, {}, [
        "--config.cmd", "nginx", "--config.cmd", "-c",
        "--config.cmd", "/etc/nginx/site.conf"]),
    "redis": (["redis-server"], {}, {}, [
        "--config.cmd", "redis-server", "--config.cmd", "--dir",
        "--config.cmd", "/data", "--config.cmd", "--appendonly",
        "--config.cmd", "yes", "--config.cmd", "--protected-mode",
        "--config.cmd", "no", "--config.volume", "/data"]),
    "mariadb": (["mariadb-server"], {"entrypoint": (0o755, MARIADB)},
                {"mysql": 999}, [
        "--config.entrypoint", "/entrypoint",
        "--config.volume", "/var/lib/mysql"]),
    # Without a theme, which Debian only recommends, the front page is a 500.
    "wordpress": (["wordpress", "wordpress-theme-twentytwentythree", "php-cli",
                   "php-mysql"], {
        "usr/share/wordpress/wp-config.php": (0o644, WORDPRESS)}, {}, [
        "--config.cmd", "php", "--config.cmd", "-S",
        "--config.cmd", "0.0.0.0:80", "--config.cmd", "-t",
        "--config.cmd", "/usr/share/wordpress"]),
}
# What nobody reads in a container.
DROPPED = ("usr/share/doc", "usr/share/man", "usr/share/locale",
           "usr/share/info", "usr/share/perl", "usr/lib/systemd",
           "usr/share/mysql/mysql-test")


def extract(root, archives):
    for archive in sorted(archives.glob("*.deb")):
        run("dpkg-deb", "-x", archive, root)
    for path in DROPPED:
        shutil.rmtree(root / path, ignore_errors=True)
    for path in ("proc", "sys", "dev", "tmp", "data"):
        (root / path).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)


def add_users(root, users):
    """Those that Debian has, as base-passwd's postinst would."""
    for name in ("passwd", "group"):
        text = (root / "usr/share/base-passwd" / (name + ".master")).read_text()
        for user, number in users.items():
            text += ("%s:x:%d:%d::/nonexistent:/bin/false\n" %
                     (user, number, number) if name == "passwd"
                     else "%s:x:%d:\n" % (user, number))
        (root / "etc" / name).write_text(text)


def enable_php(root):
    """Its name and its modules, as the packages' postinst would."""
    for program in root.glob("usr/bin/php[0-9]*"):
        (root / "usr/bin/php").symlink_to(program.name)
        version = program.name[3:]
        enabled = root / "etc/php" / version / "cli/conf.d"
        enabled.mkdir(parents=True, exist_ok=True)
        for module in root.glob("usr/share/php%s-*/*/*.ini" % version):
            priority = re.search(r"priority=(\d+)", module.read_text())
            shutil.copy(module, enabled / ("%s-%s" % (
                priority[1] if priority else "20", module.name)))


def fill(root, archives, files, users):
    extract(root, archives)
    add_users(root, users)
    enable_php(root)
    if not (root / "bin/sh").exists():
        (root / "bin/sh").symlink_to("dash")
    for path, (mode, text) in files.items():
        to = root / path
        if to.is_symlink() or to.exists():
            to.unlink()
        to.write_text(text)
        to.chmod(mode)


def image(name):
    """Its OCI layout, with tag latest."""
    packages, files, users, config = IMAGES[name]
    folder = debian.cache() / "applications"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        archives = debian.with_dependencies(BASE + packages)
        made_from = hashlib.sha256(repr((
            sorted(p.name for p in archives.iterdir()), files, users, config,
            pathlib.Path(__file__).read_text())).encode()).hexdigest()
        final = folder / ("%s-%s" % (name, made_from[:20]))
        if not final.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                made = pack(pathlib.Path(scratch),
                            lambda root: fill(root, archives, files, users),
                            config)
                subprocess.run(["mv", made, final], check=True)
    return final
