"""All durable work in one place: a process that runs the engine imports this, so that every workflow is known."""

import portal.audit.durable
import portal.audit.export
import portal.credentials.durable
import portal.events.durable
import portal.events.redelivering
import portal.idempotency.durable
import portal.links.durable
import portal.runs.durable
import portal.runs.forgetting
import portal.runs.sweeping
import portal.tasks.durable
import portal.triggers.durable
import portal.users.export  # noqa: F401 - importing is what declares the workflows and kinds of long work
