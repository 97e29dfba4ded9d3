"""Values that several suites use."""

UNKNOWN = "0190f7a2-0000-7000-8000-000000000000"
"""A valid id that no record has."""

SECRET = "sk-abcdefghijklmnopqrstuvwxyz012345"
"""A text that looks like a key, so that it must be masked."""

UNLIMITED = {
    "RUNYARD_RATE_MINUTE": "0",
    "RUNYARD_RATE_SECOND": "0",
    "ANYMIND_RATE_MINUTE": "0",
    "OWNPILOT_RATE_MINUTE": "0",
}
"""Settings without rate limits."""

SHORT_CLOCKS = {
    "RUNYARD_SOCKET_SILENCE": "4",
    "RUNYARD_PROBE_PAUSES": "2,10,60",
    "RUNYARD_START_PAUSES": "1,1,2",
    "DEV8_LOOK_PAUSES": "0.2",
    "DEV8_REPORT_SECONDS": "1",
}
"""Settings under which the app waits for a shorter time than in production."""
