"""The usual medium: a ZOOID partition with node.json and images."""

import json

from .disk import Disk

WEB_PORT = 8080


def web_app(**changes):
    return {"name": "web", "image": "images/httpd",
            "ports": ["%d:80" % WEB_PORT], **changes}


def node_json(*apps, **changes):
    return json.dumps({"name": "test", "apps": list(apps), **changes},
                      indent=1) + "\n"


def web(path, layout, size_mb=512, text=None, **changes):
    """A new medium whose node serves busybox's httpd on WEB_PORT."""
    return Disk.make(path, {
        "node.json": text or node_json(web_app(**changes)),
        "images/httpd": layout}, size_mb=size_mb)
