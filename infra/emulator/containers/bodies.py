"""Bodies of requests and answers: errors, validation of container groups, and removal of secrets."""

import base64
import copy
import re
from http import HTTPStatus
from typing import Any

TYPE = "Microsoft.ContainerInstance/containerGroups"

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
UNSUPPORTED_OF_GROUP = ("subnetIds", "extensions", "encryptionProperties", "confidentialComputeProperties")
UNSUPPORTED_OF_CONTAINER = ("livenessProbe", "readinessProbe", "securityContext")
VOLUME_KINDS = ("emptyDir", "secret", "azureFile", "gitRepo")

Json = dict[str, Any]


class ArmError(Exception):
    """An error response: HTTP status, the service's error code, a message, and the seconds after which to repeat."""

    def __init__(self, status: HTTPStatus, code: str, message: str, retry_after: int | None = None):
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after

    @property
    def body(self) -> Json:
        return {"error": {"code": self.code, "message": self.message}}


def invalid(code: str, message: str) -> ArmError:
    return ArmError(HTTPStatus.BAD_REQUEST, code, message)


def not_implemented(what: str) -> ArmError:
    return ArmError(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", f"{what} is not available on this machine.")


def not_found(kind: str, name: str, resource_group: str) -> ArmError:
    message = f"The Resource '{kind}/{name}' under resource group '{resource_group}' was not found."
    return ArmError(HTTPStatus.NOT_FOUND, "ResourceNotFound", message)


def check(name: str, body: Json) -> None:
    """Validate the body of the container group `name` as the service does.

    Raises:
        ArmError: the body is invalid, or (501) asks for something that is not supported.
    """
    if not LABEL.fullmatch(name):
        raise invalid("InvalidContainerGroupName", f"The container group name '{name}' is invalid.")
    if not body.get("location"):
        raise invalid("LocationRequired", "The location property is required for this definition.")
    properties = body.get("properties")
    if not isinstance(properties, dict):
        raise invalid("InvalidRequestContent", "The request content has no properties.")
    for key in UNSUPPORTED_OF_GROUP:
        if properties.get(key):
            raise not_implemented(f"'{key}' of a container group")
    if str(properties.get("osType", "")).lower() != "linux":
        raise not_implemented(f"The operating system '{properties.get('osType')}'")
    policy = properties.get("restartPolicy", "Always")
    if policy not in ("Always", "OnFailure", "Never"):
        raise invalid("InvalidRestartPolicy", f"The restart policy '{policy}' is invalid.")
    check_volumes(name, properties)
    containers = properties.get("containers") or []
    if not containers:
        raise invalid("MissingContainers", f"The container group '{name}' has no containers.")
    all_containers = [*(properties.get("initContainers") or []), *containers]
    names = [one.get("name") for one in all_containers]
    if len(set(names)) < len(names):
        raise invalid("DuplicateContainerName", f"The container group '{name}' has two containers of the same name.")
    volumes = {volume["name"] for volume in properties.get("volumes") or []}
    for one in all_containers:
        check_container(name, one, volumes)
    for one in containers:
        requests = (one["properties"].get("resources") or {}).get("requests") or {}
        if not all(isinstance(requests.get(key), int | float) and requests[key] > 0 for key in ("cpu", "memoryInGB")):
            raise invalid("InvalidResourceRequest", f"The container '{one['name']}' must request cpu and memoryInGB.")
        if requests.get("gpu"):
            raise not_implemented("A GPU")
    ports = [port["port"] for one in containers for port in one["properties"].get("ports") or []]
    if len(set(ports)) < len(ports):
        raise invalid("DuplicateContainerPorts", f"Containers of the container group '{name}' share a port.")


def check_volumes(name: str, properties: Json) -> None:
    for volume in properties.get("volumes") or []:
        kinds = [kind for kind in VOLUME_KINDS if volume.get(kind) is not None]
        if not volume.get("name") or len(kinds) != 1:
            raise invalid("InvalidVolume", f"A volume of the container group '{name}' needs a name and one kind.")
        if not LABEL.fullmatch(volume["name"]):
            raise invalid("InvalidVolume", f"The volume name '{volume['name']}' is invalid.")
        if kinds == ["gitRepo"]:
            raise not_implemented("A volume of the kind 'gitRepo'")
        for file, content in (volume.get("secret") or {}).items():
            check_secret(volume["name"], file, content)


def check_secret(volume: str, file: str, content: str) -> None:
    if not re.fullmatch(r"[-._A-Za-z0-9]{1,253}", file) or file in (".", ".."):
        raise invalid("InvalidSecret", f"The file name '{file}' in volume '{volume}' is invalid.")
    try:
        base64.b64decode(content, validate=True)
    except ValueError:
        raise invalid("InvalidSecret", f"The file '{file}' in volume '{volume}' is not in base64.") from None


def check_container(group: str, container: Json, volumes: set[str]) -> None:
    name, properties = container.get("name", ""), container.get("properties") or {}
    if not LABEL.fullmatch(name):
        raise invalid("InvalidContainerName", f"The container name '{name}' in container group '{group}' is invalid.")
    if not properties.get("image"):
        raise invalid("InvalidImage", f"The container '{name}' in container group '{group}' has no image.")
    for key in UNSUPPORTED_OF_CONTAINER:
        if properties.get(key):
            raise not_implemented(f"'{key}' of a container")
    for variable in properties.get("environmentVariables") or []:
        value = variable.get("secureValue") or variable.get("value") or ""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable["name"]) or "\0" in value:
            raise invalid("InvalidEnvironmentVariable", f"The environment variable '{variable['name']}' is invalid.")
    for mount in properties.get("volumeMounts") or []:
        if mount.get("name") not in volumes:
            raise invalid("VolumeNotFound", f"The container '{name}' mounts the unknown volume '{mount.get('name')}'.")
        if not re.fullmatch(r"/[^:]+", mount.get("mountPath", "")) or ".." in mount["mountPath"].split("/"):
            raise invalid("InvalidMountPath", f"The mount path '{mount.get('mountPath')}' is invalid.")


def fixed(body: Json) -> Json:
    """The properties that an update must not change; changing them requires deleting the group."""
    properties = body["properties"]
    return {
        "location": body["location"].lower(),
        "osType": properties["osType"].lower(),
        "restartPolicy": properties.get("restartPolicy", "Always"),
        "resources": {one["name"]: one["properties"]["resources"]["requests"] for one in properties["containers"]},
    }


def shown(body: Json) -> Json:
    """A copy of a group's body without its secrets."""
    body = copy.deepcopy(body)
    properties = body["properties"]
    for container in [*properties["containers"], *(properties.get("initContainers") or [])]:
        for variable in container["properties"].get("environmentVariables") or []:
            variable.pop("secureValue", None)
    for volume in properties.get("volumes") or []:
        if volume.get("secret") is not None:
            volume["secret"] = {}
        if volume.get("azureFile"):
            volume["azureFile"].pop("storageAccountKey", None)
    for credential in properties.get("imageRegistryCredentials") or []:
        credential.pop("password", None)
    if analytics := (properties.get("diagnostics") or {}).get("logAnalytics"):
        analytics.pop("workspaceKey", None)
    return body
