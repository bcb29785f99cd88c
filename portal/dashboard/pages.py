"""Every page of the dashboard: importing this adds them to the blueprint."""

import portal.dashboard.audit_log
import portal.dashboard.children
import portal.dashboard.endpoints
import portal.dashboard.events
import portal.dashboard.installations
import portal.dashboard.integrations
import portal.dashboard.keys
import portal.dashboard.links
import portal.dashboard.oidc
import portal.dashboard.overview
import portal.dashboard.passkeys
import portal.dashboard.preferences
import portal.dashboard.proof
import portal.dashboard.runs
import portal.dashboard.share
import portal.dashboard.sign_in
import portal.dashboard.tasks
import portal.dashboard.titles
import portal.dashboard.users  # noqa: F401 - importing is what adds the pages
from portal.dashboard.access import dashboard

__all__ = ["dashboard"]
