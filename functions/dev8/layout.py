"""The container group of an environment: a workspace, and a proxy that adds TLS in front of its editor."""

from collections.abc import Mapping
from typing import Literal

from functions.dev8.records import DevEnvironment
from shared.container_groups import ContainerSpec, GroupSpec, RegistryLogin, SecretMount, ShareMount
from shared.settings import settings

EDITOR_PORT, SSH_PORT, TLS_PORT = 8080, 2222, 8443
WORKSPACE = "/workspace"
MANAGER = "dev8-agent"
PROXY_CORES = PROXY_GB = 0.3
"""What the proxy takes out of the cores and the memory that a client has asked for; the service takes one decimal."""

Secret = Literal[
    "GITHUB_TOKEN", "GIT_USER_NAME", "GIT_USER_EMAIL", "SSH_PUBLIC_KEY", "CODE_SERVER_PASSWORD", "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY", "GEMINI_API_KEY",
]  # fmt: skip
"""The variables of the workspace that hold what the client has given in confidence."""

# The address without a name serves requests to the IP address. Such a connection names no server, so the name of the
# group is assumed, which has a certificate. Idle connections to the editor would count as somebody's, so none is kept.
CADDYFILE = """{{
	admin off
	auto_https disable_redirects
	skip_install_trust
	default_sni {name}
	servers {{
		protocols h1 h2
	}}
}}

https://{name}:{port}, https://{fqdn}:{port}, https://:{port} {{
	tls {certificate}
	reverse_proxy 127.0.0.1:{editor} {{
		transport http {{
			keepalive off
		}}
	}}
}}
"""


def group_id(environment: DevEnvironment) -> str:
    """Return the resource id of its container group."""
    config = settings()
    group = f"/subscriptions/{config.subscription_id}/resourceGroups/{config.resource_group}"
    return f"{group}/providers/Microsoft.ContainerInstance/containerGroups/{environment.id}"


def editor_url(environment: DevEnvironment) -> str:
    """Return the address of its editor, "" while it has none."""
    return f"https://{environment.ip}:{TLS_PORT}" if environment.ip else ""


def deployment() -> str:
    """Return what tells this deployment's groups and shares from others: the account that holds its records."""
    return settings().account.name


def tags(environment: DevEnvironment) -> dict[str, str]:
    """Return the tags of its group."""
    own = {"environment": environment.id, "userId": environment.user_id, "managed-by": MANAGER}
    return {**own, "deployment": deployment()}


def share_metadata(environment: DevEnvironment) -> dict[str, str]:
    """Return the metadata of its share, whose names are of letters only."""
    return {"environment": environment.id, "managedby": MANAGER, "deployment": deployment()}


def group_of(environment: DevEnvironment, secrets: Mapping[Secret, str], token: str, share_key: str) -> GroupSpec:
    """Return its container group.

    `token` is the one with which the workspace reports its activity, `share_key` the access key of the shares' account.
    """
    config = settings()
    ports = [SSH_PORT] if "SSH_PUBLIC_KEY" in secrets else []
    workspace = ContainerSpec(
        name="vscode-server",
        image=config.dev8_image,
        environment=_variables(environment),
        secrets={**secrets, "SUPERVISOR_AGENT_API_KEY": token},
        cpu=round(environment.cpu_cores - PROXY_CORES, 1),
        memory_gb=round(environment.memory_gb - PROXY_GB, 1),
        ports=ports,
        mounts=[ShareMount(environment.share, config.dev8_storage_account, share_key, WORKSPACE)],
    )
    return GroupSpec(
        name=environment.id,
        containers=[workspace, _proxy(environment)],
        restart_policy="OnFailure",
        public_ports=[TLS_PORT, *ports],
        dns_label=environment.id,
        registries=_registries(),
        tags=tags(environment),
        location=environment.cloud_region,
    )


def _variables(environment: DevEnvironment) -> dict[str, str]:
    """Return the plain variables: under the documented names, and under those that the supervisor reads."""
    config = settings()
    base, interval = f"{config.base_url}/dev8", f"{config.dev8_report_seconds}s"
    return {
        "WORKSPACE_ID": environment.id,
        "USER_ID": environment.user_id,
        "WORKSPACE_DIR": WORKSPACE,
        "AGENT_BASE_URL": base,
        "AGENT_ENABLED": "true",
        "MONITOR_INTERVAL": interval,
        "LOG_FILE_PATH": "/tmp/supervisor.log",  # noqa: S108 - in the container
        "ENVIRONMENT_ID": environment.id,
        "SUPERVISOR_AGENT_BASE_URL": base,
        "SUPERVISOR_MONITOR_INTERVAL": interval,
    }


def _proxy(environment: DevEnvironment) -> ContainerSpec:
    certificate, folder = settings().dev8_tls_certificate, "/etc/caddy"
    caddyfile = CADDYFILE.format(
        name=environment.id,
        fqdn=f"{environment.id}.{environment.cloud_region}.azurecontainer.io",
        port=TLS_PORT,
        editor=EDITOR_PORT,
        certificate=f"{folder}/tls.pem {folder}/tls.pem" if certificate else "internal",
    )
    files = {"Caddyfile": caddyfile, **({"tls.pem": certificate} if certificate else {})}
    return ContainerSpec(
        name="tls",
        image=settings().dev8_tls_image,
        cpu=PROXY_CORES,
        memory_gb=PROXY_GB,
        ports=[TLS_PORT],
        secret_files=[SecretMount("caddy", folder, files)],
    )


def _registries() -> list[RegistryLogin]:
    """Return how the images are pulled: by password from the workspace's registry, by the runner's identity from ours.

    A registry without a login here is a public one.
    """
    config = settings()
    workspace, ours = _server(config.dev8_image), _server(config.runner_image)
    logins: list[RegistryLogin] = []
    for server in dict.fromkeys([workspace, _server(config.dev8_tls_image)]):
        if config.dev8_registry_user and server == workspace:
            logins.append(RegistryLogin(server, user=config.dev8_registry_user, password=config.dev8_registry_password))
        elif config.runner_identity and server == ours:
            logins.append(RegistryLogin(server, identity=config.runner_identity))
    return logins


def _server(image: str) -> str:
    """Return the registry of an image; a name that begins with no host is one of Docker Hub."""
    first, rest, _ = image.partition("/")
    return first if rest and ("." in first or ":" in first) else "index.docker.io"
