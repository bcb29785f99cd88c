"""Every table of the portal in one place, for migrations and for the tests that hold them against the models."""

import portal.api_keys.models
import portal.audit.models
import portal.background.models
import portal.credentials.models
import portal.events.models
import portal.idempotency.models
import portal.installations.models
import portal.integrations.models
import portal.links.models
import portal.operators.models
import portal.preferences.models
import portal.runs.models
import portal.tasks.models
import portal.triggers.models
import portal.users.models
import portal.workflows.models  # noqa: F401 - importing is what registers the tables
from portal.db import Base

OURS = frozenset(Base.metadata.tables)
