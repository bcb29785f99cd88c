"""The catalogue: every app that this portal knows, declared in YAML. Knows no database and no Flask."""

from portal.catalogue.answers import Account, Reason, Rejected, read_account
from portal.catalogue.cleaning import Cleaned, FieldProblem, clean
from portal.catalogue.declarations import App, Field
from portal.catalogue.loading import Catalogue, CatalogueDefects, Defect, check, load_catalogue
from portal.catalogue.requests import HostNotAllowed, build_request
from portal.catalogue.sentences import sentence_for

__all__ = [
    "Account",
    "App",
    "Catalogue",
    "CatalogueDefects",
    "Cleaned",
    "Defect",
    "Field",
    "FieldProblem",
    "HostNotAllowed",
    "Reason",
    "Rejected",
    "build_request",
    "check",
    "clean",
    "load_catalogue",
    "read_account",
    "sentence_for",
]
