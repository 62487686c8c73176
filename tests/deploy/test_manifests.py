"""
The files of deploy/ as the engines' own tools read them: `kubectl kustomize` and the models of the Kubernetes API (python3-kubernetes), and
`docker stack config`. What the parts say of each other must fit, too. No cluster is asked.
"""

import base64
import collections
import copy
import json
import re
import shutil
import subprocess

import pytest
import yaml

from sandbox import BIG_TIMEOUT, REPOSITORY

DEPLOY = REPOSITORY / "deploy"
OVERLAYS = {"one": [""], "several": ["a", "b"]}  # and the directories of their secrets
SECRET = "secret-of-{}"
CONFIGURATION = {"nginx.conf": "gateway", "engine.conf": "kubernetes/base"}  # and sandboxes.map of the overlay


def command(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=BIG_TIMEOUT, check=False)


# ---- Kubernetes ----


@pytest.fixture(scope="module")
def kubectl():
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl (Debian: kubernetes-client)")
    told = command("kubectl", "version", "--client", "--output=json")
    version = re.search(r'"kustomizeVersion": "v(\d+)\.(\d+)', told.stdout)
    if not version or (int(version[1]), int(version[2])) < (4, 1):
        pytest.skip("this kubectl has an old kustomize, or none (it takes version 4.1)")


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request):
    return request.param


@pytest.fixture(scope="module")
def objects(kubectl, overlay, tmp_path_factory):
    """What would be applied: the overlay rendered from a copy of the tree, with secrets, as a list."""
    tree = tmp_path_factory.mktemp(overlay) / "deploy"
    shutil.copytree(DEPLOY, tree)
    for name in OVERLAYS[overlay]:
        (tree / "kubernetes/overlays" / overlay / name / "secret").write_text(SECRET.format(name))
    result = command("kubectl", "kustomize", str(tree / "kubernetes/overlays" / overlay))
    assert result.returncode == 0 and not result.stderr, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def of_kind(objects, *kinds):
    return [thing for thing in objects if thing["kind"] in kinds]


def named(objects, kind, name):
    return next(thing for thing in of_kind(objects, kind) if thing["metadata"]["name"] == name)


def pod_of(thing):
    return thing["spec"]["template"]


def pods(objects):
    return [pod_of(thing) for thing in of_kind(objects, "Deployment", "StatefulSet")]


def selects(selector, labels):
    return selector.items() <= labels.items()


def what_is_wrong(thing):
    """None if a manifest is what the API's model of its kind is: all that is required, nothing that is not known, all of the right type."""
    client = pytest.importorskip("kubernetes.client", reason="there is no python3-kubernetes (make test-deploy installs it)")
    group, version = thing["apiVersion"].rpartition("/")[::2]
    model = version.capitalize() + thing["kind"]
    if not hasattr(client, model):
        return f"there is no {model} in {group}"
    api = client.ApiClient()

    class Answer:
        data = json.dumps(thing)

    try:
        again = api.sanitize_for_serialization(api.deserialize(Answer, model))
    except (ValueError, TypeError, AttributeError) as error:
        return str(error)
    return None if again == thing else f"read as {again}"


def test_every_object_is_what_the_api_takes(objects):
    wrong = {f'{thing["kind"]} {thing["metadata"]["name"]}': what_is_wrong(thing) for thing in objects}
    assert not any(wrong.values()), wrong
    assert {thing["kind"] for thing in objects} == {"Namespace", "ConfigMap", "Secret", "Service", "Deployment", "StatefulSet",
                                                    "PodDisruptionBudget", "NetworkPolicy"}


def container(thing):
    return pod_of(thing)["spec"]["containers"][0]


@pytest.mark.parametrize("breaks", [
    lambda thing: thing["spec"].pop("selector"),
    lambda thing: container(thing).pop("name"),
    lambda thing: thing["spec"].update(replicaz=1),
    lambda thing: thing["spec"].update(replicas="1"),
    lambda thing: thing["spec"].update(replicas="one"),
    lambda thing: container(thing).update(env=[{"name": "PORT", "value": 3030}]),
    lambda thing: container(thing)["securityContext"].update(readOnlyRootFilesystem="true"),
    lambda thing: container(thing)["securityContext"].update(readOnlyRootFileSystem=True),
    lambda thing: container(thing)["readinessProbe"]["httpGet"].pop("port"),
    lambda thing: pod_of(thing)["spec"].update(volumes={"name": "tmp"}),
    lambda thing: thing.update(apiVersion="apps/v2"),
])
def test_what_the_api_does_not_take_is_found(objects, breaks):
    thing = copy.deepcopy(of_kind(objects, "StatefulSet")[0])
    assert what_is_wrong(thing) is None
    breaks(thing)
    assert what_is_wrong(thing)


def test_every_pod_is_locked_down(objects, overlay):
    assert len(pods(objects)) == 1 + len(OVERLAYS[overlay])
    for pod in (pod["spec"] for pod in pods(objects)):
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        for one in pod["containers"]:
            assert one["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            assert one["resources"]["limits"]["memory"]
            assert not any("SECRET" in each["name"] and each["name"] != "SANDBOX_SECRET_FILE" for each in one.get("env", []))
    namespace = of_kind(objects, "Namespace")[0]["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert all(thing["metadata"]["namespace"] == namespace["name"] for thing in objects if thing["kind"] != "Namespace")


def test_probes_ask_for_health_at_a_port_that_is_there(objects):
    for pod in pods(objects):
        for one in pod["spec"]["containers"]:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert one[probe]["httpGet"]["path"] == "/health"
                assert one[probe]["httpGet"]["port"] in [port["name"] for port in one["ports"]]


def test_every_volume_is_there(objects):
    for pod in (pod["spec"] for pod in pods(objects)):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for one in pod["containers"]:
            assert {mount["name"] for mount in one["volumeMounts"]} == volumes.keys()
            assert [mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")] == ["/tmp"]
        for volume in volumes.values():
            if "secret" in volume:
                assert named(objects, "Secret", volume["secret"]["secretName"])
            if "configMap" in volume:
                assert named(objects, "ConfigMap", volume["configMap"]["name"])


def test_the_gateway_has_the_files_of_the_tree(objects, overlay):
    data = of_kind(objects, "ConfigMap")[0]["data"]
    for name, directory in {**CONFIGURATION, "sandboxes.map": f"kubernetes/overlays/{overlay}"}.items():
        assert data[name] == (DEPLOY / directory / name).read_text()
    assert len(data) == 3


def test_every_sandbox_has_a_secret_of_its_own(objects, overlay):
    secrets = []
    for thing in of_kind(objects, "StatefulSet"):
        one = container(thing)
        path = next(each["value"] for each in one["env"] if each["name"] == "SANDBOX_SECRET_FILE")
        mount = next(mount for mount in one["volumeMounts"] if path.startswith(mount["mountPath"] + "/"))
        volume = next(volume for volume in pod_of(thing)["spec"]["volumes"] if volume["name"] == mount["name"])
        data = named(objects, "Secret", volume["secret"]["secretName"])["data"]
        secrets.append(base64.b64decode(data[path.removeprefix(mount["mountPath"] + "/")]).decode())
    assert secrets == [SECRET.format(name) for name in OVERLAYS[overlay]]


def test_every_address_of_the_map_is_the_service_of_one_sandbox(objects, overlay):
    lines = of_kind(objects, "ConfigMap")[0]["data"]["sandboxes.map"].splitlines()
    addresses = dict(line.rstrip(";").split() for line in lines if line and not line.startswith("#"))
    reached = []
    for address in addresses.values():
        name, namespace, *rest = address.split(":")[0].split(".")
        assert rest == ["svc", "cluster", "local"]
        service = named(objects, "Service", name)
        assert service["metadata"]["namespace"] == namespace and service["spec"]["clusterIP"] == "None"
        assert int(address.split(":")[1]) in [port["port"] for port in service["spec"]["ports"]]
        behind = [thing for thing in objects if "template" in thing.get("spec", {})
                  and selects(service["spec"]["selector"], pod_of(thing)["metadata"]["labels"])]
        assert len(behind) == 1 and behind[0]["spec"]["serviceName"] == name and behind[0]["spec"]["replicas"] == 1
        reached.append(behind[0]["metadata"]["name"])
    assert sorted(reached) == sorted(thing["metadata"]["name"] for thing in of_kind(objects, "StatefulSet"))
    assert addresses.keys() == ({"default"} if overlay == "one" else set(OVERLAYS[overlay]))


def test_selectors_select(objects):
    """A Service, a budget, a policy and both ends of a policy's rule mean pods that are there; a controller means its own."""
    labels = [pod["metadata"]["labels"] for pod in pods(objects)]
    for thing in of_kind(objects, "Deployment", "StatefulSet"):
        assert selects(thing["spec"]["selector"]["matchLabels"], pod_of(thing)["metadata"]["labels"])
        assert sum(selects(thing["spec"]["selector"]["matchLabels"], each) for each in labels) == 1
    selectors = [thing["spec"]["selector"] for thing in of_kind(objects, "Service")]
    selectors += [thing["spec"]["selector"]["matchLabels"] for thing in of_kind(objects, "PodDisruptionBudget")]
    for policy in (thing["spec"] for thing in of_kind(objects, "NetworkPolicy")):
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        selectors.append(policy["podSelector"]["matchLabels"])
        peers = [peer for rule in policy["ingress"] + policy["egress"] for peer in rule.get("from", []) + rule.get("to", [])]
        selectors += [peer["podSelector"]["matchLabels"] for peer in peers if "podSelector" in peer]
    for selector in selectors:
        assert any(selects(selector, each) for each in labels), selector
    covered = [thing["spec"]["podSelector"]["matchLabels"] for thing in of_kind(objects, "NetworkPolicy")]
    assert all(sum(selects(each, pod) for each in covered) == 1 for pod in labels), "a pod without a policy"


def test_a_sandbox_is_reached_by_the_gateway_alone(objects):
    policy = named(objects, "NetworkPolicy", "sandbox")["spec"]
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 3030}]
    assert [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in rule["from"]] == ["gateway"]
    blocks = [peer["ipBlock"] for rule in policy["egress"] for peer in rule.get("to", [])]
    assert all("169.254.0.0/16" in block["except"] for block in blocks if block["cidr"] == "0.0.0.0/0")


def test_without_a_secret_nothing_is_rendered(kubectl, overlay, tmp_path):
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secret"))
    result = command("kubectl", "kustomize", str(tmp_path / "deploy/kubernetes/overlays" / overlay))
    assert result.returncode != 0 and "secret" in result.stderr


# ---- the commands of deploy/README.md ----


def readme_blocks():
    """[(heading, commands)] of its shell blocks."""
    parts = re.split(r"(?m)^#+ (.*)\n", (DEPLOY / "README.md").read_text())
    sections = zip(parts[1::2], parts[2::2])
    return [(heading, block) for heading, text in sections for block in re.findall(r"(?ms)^```sh\n(.*?)^```$", text)]


def test_the_readmes_commands_for_kubernetes(kubectl, tmp_path):
    blocks = [block for heading, block in readme_blocks() if heading == "Kubernetes"]
    assert len(blocks) == len(OVERLAYS)
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secret"))
    for block, names in zip(blocks, OVERLAYS.values()):
        result = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=BIG_TIMEOUT, check=False)
        assert result.returncode == 0 and not result.stderr, result.stderr
        secrets = [thing["data"]["secret"] for thing in of_kind(list(yaml.safe_load_all(result.stdout)), "Secret")]
        assert len(set(secrets)) == len(names) and all(len(base64.b64decode(secret)) == 44 for secret in secrets)


def test_the_readmes_commands_for_swarm_are_those_that_are_run():
    """`make test-swarm` runs them; here is seen that it leaves none out."""
    blocks = collections.Counter(heading for heading, _ in readme_blocks() if heading != "Kubernetes")
    script = (REPOSITORY / "tests/deploy/swarm").read_text()
    run = {(match[1] or match[2], int(match[3] or 1)) for match in re.finditer(r'\breadme (?:"([^"]*)"|(\w+))(?: (\d))?\n', script)}
    assert run == {(heading, number) for heading, count in blocks.items() for number in range(1, count + 1)}


# ---- Swarm ----


@pytest.fixture(scope="module")
def stack_config():
    if not shutil.which("docker") or command("docker", "stack", "config", "--help").returncode:
        pytest.skip("there is no docker command that has `stack config`")

    def config(*files):
        return command("docker", "stack", "config", *(word for file in files for word in ("-c", str(file))))

    return config


STACK, HOST_PORTS = DEPLOY / "swarm/stack.yml", DEPLOY / "swarm/host-ports.yml"


@pytest.mark.parametrize("files", [[STACK], [STACK, HOST_PORTS]])
def test_the_stack_is_taken(stack_config, files):
    result = stack_config(*files)
    assert result.returncode == 0 and "unsupported" not in result.stderr.lower(), result.stderr
    stack = yaml.safe_load(result.stdout)
    for name, service in stack["services"].items():
        assert (service["user"], service["read_only"], service["cap_drop"]) == ("1000:1000", True, ["ALL"]), name
        assert service["deploy"]["update_config"]["failure_action"] == "rollback" and service["deploy"]["resources"]["limits"]["memory"]
        assert service["healthcheck"]["test"][-1].endswith("/health")
        for kind in ("configs", "secrets"):
            assert {each["source"] for each in service.get(kind, [])} <= stack[kind].keys()
        assert service["networks"].keys() <= stack["networks"].keys()
    sandbox, gateway = stack["services"]["sandbox"], stack["services"]["gateway"]
    assert "ports" not in sandbox and sandbox["environment"]["SANDBOX_SECRET_FILE"] == "/run/secrets/" + sandbox["secrets"][0]["target"]
    assert [port["mode"] for port in gateway["ports"]] == (["ingress"] if len(files) == 1 else ["host"])
    assert {config["target"] for config in gateway["configs"]} == {f"/etc/gateway/{name}" for name in ("nginx.conf", "engine.conf", "sandboxes.map")}


@pytest.mark.parametrize("old, new", [("replicas: 2", "replicas: two"), ("parallelism: 1", "paralelism: 1"), ("read_only: true", "read_only: maybe"),
                                      ("order: start-first", "order: any-first")])
def test_a_broken_stack_is_refused(stack_config, tmp_path, old, new):
    text = STACK.read_text()
    assert old in text
    (tmp_path / "stack.yml").write_text(text.replace(old, new))
    assert stack_config(tmp_path / "stack.yml").returncode != 0
