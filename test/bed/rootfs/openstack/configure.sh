#!/bin/bash
# Runs inside the root file system, in a network namespace of its own, once: databases, keys, the admin, the service's
# user. The catalog names 127.0.0.1: test/bed/openstack puts its own addresses there, and a command on the host needs none.
set -euo pipefail
ip link set lo up
. /etc/os-release
# On since 2023.2. In Zed it is off, and then any role in the project lists and creates ports. Not enforce_scope
# with it: Zed's database layer then shows a project's admin that project alone.
[ "$VERSION_CODENAME" != bookworm ] || printf '[oslo_policy]\nenforce_new_defaults = true\n' >>/etc/neutron/neutron.conf
mkdir -p /run/mysqld /var/lib/neutron/lock; chown mysql:mysql /run/mysqld
mariadbd --user=mysql & db=$!
until mariadb-admin --silent ping 2>/dev/null; do kill -0 $db; sleep 0.1; done
for name in keystone neutron; do mariadb -e "CREATE DATABASE IF NOT EXISTS $name CHARACTER SET utf8mb3"; done
keystone-manage db_sync
mkdir -p /etc/keystone/fernet-keys /etc/keystone/credential-keys; chmod 700 /etc/keystone/*-keys
keystone-manage fernet_setup --keystone-user root --keystone-group root
keystone-manage credential_setup --keystone-user root --keystone-group root
keystone-manage bootstrap --bootstrap-password test-admin --bootstrap-region-id RegionOne \
  --bootstrap-public-url http://127.0.0.1:5000/v3 --bootstrap-internal-url http://127.0.0.1:5000/v3 --bootstrap-admin-url http://127.0.0.1:5000/v3
neutron-db-manage --config-file /etc/neutron/neutron.conf --config-file /etc/neutron/ml2.ini upgrade head >/dev/null 2>/tmp/migrate.log || { tail -30 /tmp/migrate.log; false; }
uwsgi --ini /etc/keystone/uwsgi.ini & keystone=$!
until python3 -c 'import urllib.request as r; r.urlopen("http://127.0.0.1:5000/v3")' 2>/dev/null; do kill -0 $keystone; sleep 0.2; done
python3 - <<'PY'
import json, urllib.request
token = None
def call(method, path, body=None):
    request = urllib.request.Request("http://127.0.0.1:5000/v3" + path, method=method,
        data=json.dumps(body).encode() if body else None, headers={"Content-Type": "application/json", **({"X-Auth-Token": token} if token else {})})
    with urllib.request.urlopen(request) as answer:
        data = answer.read()
        return answer.headers, json.loads(data) if data else None
headers, _ = call("POST", "/auth/tokens", {"auth": {"identity": {"methods": ["password"], "password": {"user":
    {"name": "admin", "domain": {"id": "default"}, "password": "test-admin"}}}, "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}})
token = headers["X-Subject-Token"]
def make(kind, **fields):
    return call("POST", "/%ss" % kind, {kind: fields})[1][kind]["id"]
roles = {role["name"]: role["id"] for role in call("GET", "/roles")[1]["roles"]}
make("role", name="nothing")
if "service" not in roles:
    roles["service"] = make("role", name="service")
service = make("project", name="service", domain_id="default")
neutron = make("user", name="neutron", domain_id="default", password="test-neutron")
for role in "service", "admin":
    call("PUT", "/projects/%s/users/%s/roles/%s" % (service, neutron, roles[role]))
network = make("service", name="neutron", type="network")
for interface in "public", "internal", "admin":
    make("endpoint", service_id=network, interface=interface, region_id="RegionOne", url="http://127.0.0.1:9696")
PY
kill -TERM $keystone; wait $keystone || true
mariadb-admin shutdown; wait $db || true
for unit in keystone neutron; do ln -sf /etc/systemd/system/$unit.service /etc/systemd/system/multi-user.target.wants/; done
rm -rf /etc/systemd/system/timers.target.wants /root/configure.sh /tmp/*
