"""Outbound HTTP: every request that the portal sends leaves through `Outbound.send`. Nothing here knows an app."""

from portal.http.messages import Answer, NoAnswer, NotJSON, Problem, Request
from portal.http.outbound import Outbound
from portal.http.private import PrivateNetwork

__all__ = ["Answer", "NoAnswer", "NotJSON", "Outbound", "PrivateNetwork", "Problem", "Request"]
