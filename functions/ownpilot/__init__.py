"""The OwnPilot API: a personal assistant."""

from functions.ownpilot import (
    agents,
    audit,
    auth,
    autonomy,
    bookmarks,
    calendar,
    captures,
    channels,
    chat,
    config_services,
    contacts,
    costs,
    custom_data,
    custom_tools,
    dashboard,
    database,
    debug,
    expenses,
    file_workspaces,
    goals,
    habits,
    health,
    integrations,
    local_providers,
    mcp,
    media_settings,
    memories,
    model_configs,
    models,
    notes,
    plans,
    plugins,
    pomodoro,
    profile,
    providers,
    summary,
    tasks,
    tools,
    triggers,
    workspaces,
    ws,
)
from functions.ownpilot import settings as settings_room
from functions.ownpilot.channels import messages as channel_messages
from functions.ownpilot.channels import webhook
from functions.ownpilot.channels.answering import ownpilot_channel_message
from functions.ownpilot.chat import history, logs
from functions.ownpilot.chat.after import ownpilot_after_chat
from functions.ownpilot.config_services import entries
from functions.ownpilot.core import file_workspace_cleanup
from functions.ownpilot.core.custom_records import clear_custom_table
from functions.ownpilot.core.debug_log import purge_debug_log
from functions.ownpilot.core.envelope import OwnpilotEnvelope, error_body, headers
from functions.ownpilot.core.file_cleanup import clear_workspace_files, sweep_workspace_files
from functions.ownpilot.core.integration_store import purge_oauth_states
from functions.ownpilot.core.owner import CALLERS
from functions.ownpilot.custom_tools.container import OwnpilotToolRun, start_tool_run
from functions.ownpilot.custom_tools.runs import purge_tool_runs
from functions.ownpilot.database import workflow as database_workflow
from functions.ownpilot.goals import steps
from functions.ownpilot.local_providers import models as local_models
from functions.ownpilot.model_configs import providers as merged_providers
from functions.ownpilot.model_configs import sync as catalogue_sync
from functions.ownpilot.plans import history as plan_history
from functions.ownpilot.plans import steps as plan_steps
from functions.ownpilot.plans import workflow as plan_workflow
from functions.ownpilot.plans.runs import start_plan, wake_plan
from functions.ownpilot.plugins import settings as plugin_settings
from functions.ownpilot.providers import models as provider_models
from functions.ownpilot.settings import api_keys, defaults, sandbox, values
from functions.ownpilot.triggers import firing
from functions.ownpilot.triggers.senders import SENDERS
from functions.ownpilot.triggers.timers import fire_due_triggers, repair_due_times
from functions.ownpilot.workspaces import deletion, execute
from functions.ownpilot.workspaces import files as workspace_files
from functions.ownpilot.workspaces.job import OwnpilotExecution
from shared.http.api import Api, Cors
from shared.http.ratelimit import RateLimit
from shared.settings import settings
from shared.slices import Slice

config = settings()

api = Api(
    "ownpilot",
    "OwnPilot",
    health.VERSION,
    [
        health.probe,
        health.routes,
        settings_room.routes,
        api_keys.routes,
        defaults.routes,
        sandbox.routes,
        values.routes,
        models.routes,
        model_configs.routes,
        merged_providers.routes,
        catalogue_sync.routes,
        providers.routes,
        provider_models.routes,
        config_services.routes,
        entries.routes,
        chat.routes,
        history.routes,
        logs.routes,
        agents.routes,
        audit.routes,
        debug.routes,
        tasks.routes,
        notes.routes,
        bookmarks.routes,
        calendar.routes,
        contacts.routes,
        expenses.routes,
        pomodoro.routes,
        habits.routes,
        captures.routes,
        profile.routes,
        summary.routes,
        custom_data.routes,
        memories.routes,
        goals.routes,
        steps.routes,
        local_providers.routes,
        local_models.routes,
        costs.routes,
        media_settings.routes,
        dashboard.routes,
        database.routes,
        tools.routes,
        file_workspaces.routes,
        mcp.routes,
        custom_tools.routes,
        autonomy.routes,
        channels.routes,
        channel_messages.routes,
        webhook.routes,
        auth.routes,
        integrations.routes,
        triggers.routes,
        plans.routes,
        plan_steps.routes,
        plan_history.routes,
        workspaces.routes,
        workspace_files.routes,
        execute.routes,
        plugins.routes,
        plugin_settings.routes,
        ws.routes,
    ],
    description="A personal assistant: keeps tasks, notes, bookmarks, dates, people, memories, goals, expenses, "
    "habits, a profile, tables of its user's own, settings and keys, and knows models, what they cost and was spent.",
    render=error_body,
    envelope=OwnpilotEnvelope(),
    headers=headers,
    guards=[CALLERS, SENDERS],
    limit=RateLimit(
        "ownpilot", max(config.ownpilot_rate_burst, config.ownpilot_rate_minute), 0, shown=config.ownpilot_rate_minute
    )
    if config.ownpilot_rate_minute
    else None,
    cors=Cors.of_settings(credentials=True),
    lenient_body=True,
    lenient_paging=True,
    not_found="Route not found: {method} {path}",
)
SLICE = Slice(
    api=api,
    dialogue=ws.handle_event,
    blueprints=[database_workflow.bp, firing.bp, plan_workflow.bp, file_workspace_cleanup.bp, deletion.bp],
    every_minute=[fire_due_triggers, plan_workflow.follow_plans],
    every_hour=[purge_debug_log, purge_oauth_states, repair_due_times, purge_tool_runs],
    deferred=[
        clear_custom_table,
        memories.embed_memories,
        ownpilot_after_chat,
        ownpilot_channel_message,
        triggers.clear_trigger,
        clear_workspace_files,
    ],
    deferred_workflows=[firing.start_firing, start_plan, wake_plan, start_tool_run],
    job_kinds=[OwnpilotToolRun(), OwnpilotExecution()],
    every_night=[sweep_workspace_files],
)
