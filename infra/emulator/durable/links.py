"""The URLs of the management API, and the client binding that holds them."""

import json
from urllib.parse import quote

BASE = "/runtime/webhooks/durabletask/"


def management_urls(base_url: str, hub: str, id: str) -> dict[str, str]:
    """The URLs for querying and changing one instance."""
    where = f"{base_url}{BASE}instances/{quote(id, safe='')}"
    common = f"taskHub={hub}&connection=AzureWebJobsStorage"
    return {
        "id": id,
        "statusQueryGetUri": f"{where}?{common}",
        "sendEventPostUri": f"{where}/raiseEvent/{{eventName}}?{common}",
        "purgeHistoryDeleteUri": f"{where}?{common}",
        "restartPostUri": f"{where}/restart?{common}",
        **{
            f"{operation}PostUri": f"{where}/{operation}?reason={{text}}&{common}"
            for operation in ("terminate", "rewind", "suspend", "resume")
        },
    }


def client_binding(base_url: str, hub: str) -> str:
    """The JSON text that a durable client binding receives."""
    create = f"{base_url}{BASE}orchestrators/{{functionName}}[/{{instanceId}}]"
    common = f"taskHub={hub}&connection=AzureWebJobsStorage"
    wait = "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}"
    return json.dumps(
        {
            "taskHubName": hub,
            "creationUrls": {
                "createNewInstancePostUri": f"{create}?{common}",
                "createAndWaitOnNewInstancePostUri": f"{create}?{wait}&{common}",
            },
            "managementUrls": management_urls(base_url, hub, "INSTANCEID"),
            "baseUrl": f"{base_url}{BASE}".rstrip("/"),
            "requiredQueryStringParameters": "",
            "rpcBaseUrl": f"{base_url}{BASE}",
        }
    )
