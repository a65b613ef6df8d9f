"""What people do with Kubernetes' Python client, against the cluster of the current kubeconfig.

Each step is a function; the first that fails ends the run, with what was wrong.
"""

import socket
import sys
import tempfile
import time

import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import NotFoundError
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from kubernetes.stream import portforward, stream

NS = "python-client"
IMAGE = "luksa/kubia"


def deployment(name, replicas=1):
    labels = {"app": name}
    return client.V1Deployment(
        metadata=client.V1ObjectMeta(name=name, labels=labels),
        spec=client.V1DeploymentSpec(
            replicas=replicas,
            selector=client.V1LabelSelector(match_labels=labels),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels=labels),
                spec=client.V1PodSpec(containers=[client.V1Container(name="main", image=IMAGE)]),
            ),
        ),
    )


def pod(name):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": IMAGE}]},
    }


def refused(status, call, *args, **named):
    try:
        call(*args, **named)
    except ApiException as error:
        assert error.status == status, error
        return error
    raise AssertionError(f"{call} was not refused")


def until(events, done):
    """The first event that is the one that is waited for."""
    for event in events:
        if done(event):
            return event
    raise AssertionError("the watch ended")


def is_ready(found):
    return any(one.type == "Ready" and one.status == "True" for one in found.status.conditions or [])


def versions():
    assert client.VersionApi().get_code().major == "1"
    assert "apps" in [group.name for group in client.ApisApi().get_api_versions().groups]


def namespace():
    core = client.CoreV1Api()
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NS)))
    refused(409, core.create_namespace, client.V1Namespace(metadata=client.V1ObjectMeta(name=NS)))
    wait = watch.Watch().stream(core.list_namespaced_service_account, NS, timeout_seconds=30)
    until(wait, lambda event: event["object"].metadata.name == "default")


def config_maps():
    core = client.CoreV1Api()
    made = core.create_namespaced_config_map(NS, client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name="a", labels={"n": "1"}), data={"k": "v"}, binary_data={"b": "AQI="}))
    assert made.data == {"k": "v"} and made.metadata.creation_timestamp.tzinfo is not None
    made.data["k"] = "w"
    changed = core.replace_namespaced_config_map("a", NS, made)
    refused(409, core.replace_namespaced_config_map, "a", NS, made)
    assert core.patch_namespaced_config_map("a", NS, {"data": {"l": "x"}}).data == {"k": "w", "l": "x"}
    patch = [{"op": "remove", "path": "/data/l"}]
    assert core.patch_namespaced_config_map("a", NS, patch).data == {"k": "w"}
    assert core.list_namespaced_config_map(NS, label_selector="n=1").items[0].metadata.uid == changed.metadata.uid
    refused(404, core.read_namespaced_config_map, "none", NS)
    dry = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="dry"))
    core.create_namespaced_config_map(NS, dry, dry_run="All")
    refused(404, core.read_namespaced_config_map, "dry", NS)
    wrong = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="Wrong_Name"))
    assert refused(422, core.create_namespaced_config_map, NS, wrong).reason == "Unprocessable Entity"


def pages():
    core = client.CoreV1Api()
    for i in range(5):
        core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"page-{i}", labels={"page": "1"})))
    seen, token = [], None
    while True:
        page = core.list_namespaced_config_map(NS, limit=2, _continue=token, label_selector="page=1")
        seen += [one.metadata.name for one in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert seen == [f"page-{i}" for i in range(5)], seen
    core.delete_collection_namespaced_config_map(NS, label_selector="page=1")
    assert core.list_namespaced_config_map(NS, label_selector="page=1").items == []


def workloads():
    apps, core = client.AppsV1Api(), client.CoreV1Api()
    apps.create_namespaced_deployment(NS, deployment("web"))
    events = watch.Watch().stream(apps.list_namespaced_deployment, NS, timeout_seconds=60)
    until(events, lambda event: event["object"].status.available_replicas == 1)
    apps.patch_namespaced_deployment_scale("web", NS, {"spec": {"replicas": 2}})
    assert apps.read_namespaced_deployment_scale("web", NS).spec.replicas == 2
    events = watch.Watch().stream(apps.list_namespaced_deployment, NS, timeout_seconds=60)
    until(events, lambda event: event["object"].status.available_replicas == 2)
    # A strategic merge by the name of the container.
    spec = {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "b"}]}]}}}
    changed = apps.patch_namespaced_deployment("web", NS, {"spec": spec})
    assert changed.spec.template.spec.containers[0].image == IMAGE
    assert apps.read_namespaced_deployment_status("web", NS).status.observed_generation >= 1
    assert len(core.list_namespaced_event(NS).items) > 0
    apps.delete_namespaced_deployment("web", NS, propagation_policy="Foreground")
    events = watch.Watch().stream(apps.list_namespaced_deployment, NS, timeout_seconds=60)
    until(events, lambda event: event["type"] == "DELETED")


def watches():
    core = client.CoreV1Api()
    version = core.list_namespaced_config_map(NS).metadata.resource_version
    made = core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="watched")))
    core.delete_namespaced_config_map("watched", NS)
    of = watch.Watch()
    seen = []
    for event in of.stream(core.list_namespaced_config_map, NS, resource_version=version, timeout_seconds=20):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            of.stop()
    assert seen == [("ADDED", "watched"), ("DELETED", "watched")], seen
    assert made.metadata.uid
    # An end by time is an end like any other.
    assert list(watch.Watch().stream(core.list_namespaced_secret, NS, timeout_seconds=1)) == []
    # Bookmarks are understood.
    events = watch.Watch().stream(core.list_namespaced_config_map, NS, timeout_seconds=1, allow_watch_bookmarks=True)
    assert {event["type"] for event in events} <= {"ADDED", "BOOKMARK"}


def running_pod():
    core = client.CoreV1Api()
    core.create_namespaced_pod(NS, pod("one"))
    events = watch.Watch().stream(core.list_namespaced_pod, NS, field_selector="metadata.name=one", timeout_seconds=60)
    found = until(events, lambda event: is_ready(event["object"]))["object"]
    assert found.status.container_statuses[0].state.running.started_at


def logs():
    core = client.CoreV1Api()
    text = core.read_namespaced_pod_log("one", NS)
    assert "Kubia server starting" in text, text
    lines = watch.Watch().stream(core.read_namespaced_pod_log, "one", NS)
    assert "Kubia server starting" in next(lines)
    assert core.read_namespaced_pod_log("one", NS, tail_lines=0) == ""


def execs():
    core = client.CoreV1Api()
    plain = stream(core.connect_get_namespaced_pod_exec, "one", NS, command=["sh", "-c", "echo out; echo err >&2"],
                   stderr=True, stdin=False, stdout=True, tty=False)
    assert "out" in plain and "err" in plain, plain
    shell = stream(core.connect_get_namespaced_pod_exec, "one", NS, command=["sh"], stderr=True, stdin=True,
                   stdout=True, tty=False, _preload_content=False)
    shell.write_stdin("echo hello; exit 3\n")
    shell.run_forever(timeout=20)
    assert shell.read_stdout() == "hello\n"
    assert shell.returncode == 3, shell.returncode
    tty = stream(core.connect_get_namespaced_pod_exec, "one", NS, command=["tty"], stderr=False, stdin=True,
                 stdout=True, tty=True)
    assert "/dev/" in tty, tty
    wrong = refused(0, stream, core.connect_get_namespaced_pod_exec, "none", NS, command=["sh"], stdout=True)
    assert "404" in str(wrong), wrong


def port_forwards():
    forward = portforward(client.CoreV1Api().connect_get_namespaced_pod_portforward, "one", NS, ports="8080")
    sock = forward.socket(8080)
    sock.setblocking(True)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: one\r\nConnection: close\r\n\r\n")
    answer = b""
    while chunk := sock.recv(1024):
        answer += chunk
    assert b"You've hit one" in answer, answer
    assert forward.error(8080) is None


def proxies():
    text = client.CoreV1Api().connect_get_namespaced_pod_proxy("one:8080", NS)
    assert "You've hit one" in text, text


def dynamically():
    of = dynamic.DynamicClient(client.ApiClient())
    pods = of.resources.get(api_version="v1", kind="Pod")
    assert pods.get(name="one", namespace=NS).metadata.name == "one"
    maps = of.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic"}, "data": {"a": "b"}}
    maps.create(body=body, namespace=NS)
    applied = maps.server_side_apply(body={**body, "data": {"a": "c"}}, name="dynamic", namespace=NS,
                                     field_manager="python", force_conflicts=True)
    assert applied.data.a == "c"
    patched = maps.patch(body={"data": {"d": "e"}}, name="dynamic", namespace=NS,
                         content_type="application/merge-patch+json")
    assert patched.data.to_dict() == {"a": "c", "d": "e"}
    for event in maps.watch(namespace=NS, timeout=1):
        assert event["object"].kind == "ConfigMap"
    maps.delete(name="dynamic", namespace=NS)
    try:
        maps.get(name="dynamic", namespace=NS)
        raise AssertionError("it is gone")
    except NotFoundError:
        pass


def custom_objects():
    group, version, plural = "stable.example.com", "v1", "crontabs"
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "cron": {"type": "string"}, "replicas": {"type": "integer", "minimum": 1}}}}}
    api = client.ApiextensionsV1Api()
    api.create_custom_resource_definition({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced",
                 "names": {"plural": plural, "singular": "crontab", "kind": "CronTab"},
                 "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]}})
    events = watch.Watch().stream(api.list_custom_resource_definition, timeout_seconds=20)
    until(events, lambda event: any(one.type == "Established" and one.status == "True"
                                    for one in (event["object"].status.conditions or [])))
    custom = client.CustomObjectsApi()
    body = {"apiVersion": f"{group}/{version}", "kind": "CronTab", "metadata": {"name": "x"}, "spec": {"cron": "* *", "replicas": 2}}
    custom.create_namespaced_custom_object(group, version, NS, plural, body)
    wrong = {**body, "metadata": {"name": "y"}, "spec": {"replicas": 0}}
    refused(422, custom.create_namespaced_custom_object, group, version, NS, plural, wrong)
    patched = custom.patch_namespaced_custom_object(group, version, NS, plural, "x", {"spec": {"replicas": 3}})
    assert patched["spec"] == {"cron": "* *", "replicas": 3}
    assert len(custom.list_namespaced_custom_object(group, version, NS, plural)["items"]) == 1
    of = dynamic.DynamicClient(client.ApiClient())
    assert of.resources.get(api_version=f"{group}/{version}", kind="CronTab").get(name="x", namespace=NS).spec.replicas == 3
    api.delete_custom_resource_definition(f"{plural}.{group}")


def manifests():
    text = yaml.safe_dump_all([
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-file", "namespace": NS}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "from-file", "namespace": NS},
         "spec": {"selector": {"app": "one"}, "ports": [{"port": 80, "targetPort": 8080}]}},
    ])
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        utils.create_from_yaml(client.ApiClient(), file.name)
    service = client.CoreV1Api().read_namespaced_service("from-file", NS)
    assert service.spec.cluster_ip and service.spec.ports[0].target_port == 8080


def tokens():
    core = client.CoreV1Api()
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600))
    token = core.create_namespaced_service_account_token("default", NS, request).status.token
    own = client.Configuration.get_default_copy()
    own.cert_file = own.key_file = None
    own.api_key = {"authorization": token}
    own.api_key_prefix = {"authorization": "Bearer"}
    api = client.ApiClient(own)
    who = client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
    assert who.status.user_info.username == f"system:serviceaccount:{NS}:default", who
    refused(403, client.CoreV1Api(api).list_namespaced_secret, NS)
    review = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(
        resource_attributes=client.V1ResourceAttributes(verb="list", resource="secrets", namespace=NS)))
    assert client.AuthorizationV1Api(api).create_self_subject_access_review(review).status.allowed is False


def leases():
    led = []
    lock = LeaseLock("leader", NS, "me")

    class Done(Exception):
        pass

    def began():
        led.append(lock.get("leader", NS)[1].holder_identity)

    elected = electionconfig.Config(lock, lease_duration=3, renew_deadline=2, retry_period=1,
                                    onstarted_leading=began, onstopped_leading=lambda: None)
    election = leaderelection.LeaderElection(elected)
    assert election.try_acquire_or_renew()
    assert election.try_acquire_or_renew()
    began()
    assert led == ["me"], led


def evictions():
    core = client.CoreV1Api()
    core.create_namespaced_pod_eviction("one", NS, client.V1Eviction(metadata=client.V1ObjectMeta(name="one", namespace=NS)))
    events = watch.Watch().stream(core.list_namespaced_pod, NS, field_selector="metadata.name=one", timeout_seconds=60)
    until(events, lambda event: event["type"] == "DELETED")


def end():
    core = client.CoreV1Api()
    core.delete_namespace(NS)
    events = watch.Watch().stream(core.list_namespace, field_selector=f"metadata.name={NS}", timeout_seconds=60)
    until(events, lambda event: event["type"] == "DELETED")


STEPS = [versions, namespace, config_maps, pages, workloads, watches, running_pod, logs, execs, port_forwards, proxies,
         dynamically, custom_objects, manifests, tokens, leases, evictions, end]

if __name__ == "__main__":
    config.load_kube_config()
    failed = 0
    for step in STEPS:
        began = time.monotonic()
        try:
            step()
            print(f"ok   {step.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as error:  # Whatever it is: it is told, and the next step is tried.
            failed += 1
            import traceback
            traceback.print_exc()
            print(f"FAIL {step.__name__}: {type(error).__name__}: {error}", flush=True)
    sys.exit(1 if failed else 0)
