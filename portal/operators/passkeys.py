"""Passkeys (W3C Web Authentication, level 3): registered by who is signed in, and then a way to sign in."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from portal.operators.errors import NoPasskeysHere, PasskeyRefused
from portal.operators.models import Operator, Passkey, PasskeyChallenge

CHALLENGE_LIFE = timedelta(minutes=5)


@dataclass(frozen=True)
class Party:
    """Who asks: the portal, by the name of its host."""

    host: str
    origin: str
    name: str

    @classmethod
    def of(cls, base_url: str, name: str) -> Party:
        """The portal at `base_url`. Raises `NoPasskeysHere` when it has no host name."""
        parts = urlsplit(base_url)
        host = parts.hostname or ""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return cls(host, f"{parts.scheme}://{parts.netloc}", name)
        raise NoPasskeysHere


def _new_challenge(session: Session, challenge: bytes, now: datetime) -> None:
    session.execute(sa.delete(PasskeyChallenge).where(PasskeyChallenge.expires_at < now))
    session.add(PasskeyChallenge(challenge_hash=_hash(challenge), expires_at=now + CHALLENGE_LIFE))
    session.flush()


def _hash(challenge: bytes) -> str:
    return hashlib.sha256(challenge).hexdigest()


def _use_challenge(session: Session, credential: str, now: datetime) -> bytes:
    """The challenge that the browser answered; it can't be answered again. Raises `PasskeyRefused`."""
    from webauthn.helpers import base64url_to_bytes, parse_client_data_json

    try:
        facts = json.loads(credential)
        client = parse_client_data_json(base64url_to_bytes(facts["response"]["clientDataJSON"]))
    except Exception:  # whatever was sent, it is no answer to a challenge
        raise PasskeyRefused from None
    used = session.execute(
        sa.delete(PasskeyChallenge)
        .where(PasskeyChallenge.challenge_hash == _hash(client.challenge), PasskeyChallenge.expires_at > now)
        .execution_options(synchronize_session=False)
    )
    if used.rowcount != 1:  # type: ignore[attr-defined]
        raise PasskeyRefused
    return client.challenge


def passkeys_of(session: Session, operator_id: str) -> list[Passkey]:
    """An operator's passkeys, the oldest first."""
    return list(
        session.scalars(sa.select(Passkey).where(Passkey.operator_id == operator_id).order_by(Passkey.created_at))
    )


def registration_options(session: Session, party: Party, operator: Operator, now: datetime) -> str:
    """What the browser needs to make a passkey, as JSON."""
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    options = generate_registration_options(
        rp_id=party.host,
        rp_name=party.name,
        user_name=operator.email,
        user_id=operator.id.encode(),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[
            PublicKeyCredentialDescriptor(id=one.credential_id) for one in passkeys_of(session, operator.id)
        ],
    )
    _new_challenge(session, options.challenge, now)
    return options_to_json(options)


def register(session: Session, party: Party, operator_id: str, credential: str, *, name: str, now: datetime) -> Passkey:
    """Keep the passkey that the browser made. Raises `PasskeyRefused`."""
    from webauthn import verify_registration_response
    from webauthn.helpers.exceptions import WebAuthnException

    challenge = _use_challenge(session, credential, now)
    try:
        proved = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.host,
            expected_origin=party.origin,
            require_user_verification=True,
        )
    except WebAuthnException:
        raise PasskeyRefused from None
    if session.scalar(sa.select(Passkey.id).where(Passkey.credential_id == proved.credential_id)):
        raise PasskeyRefused
    row = Passkey(
        operator_id=operator_id,
        credential_id=proved.credential_id,
        public_key=proved.credential_public_key,
        sign_count=proved.sign_count,
        name=name.strip()[:120] or "Passkey",
        created_at=now,
    )
    session.add(row)
    session.flush()
    return row


def sign_in_options(session: Session, party: Party, now: datetime) -> str:
    """What the browser needs to sign in with a passkey, as JSON."""
    from webauthn import generate_authentication_options, options_to_json
    from webauthn.helpers.structs import UserVerificationRequirement

    options = generate_authentication_options(rp_id=party.host, user_verification=UserVerificationRequirement.REQUIRED)
    _new_challenge(session, options.challenge, now)
    return options_to_json(options)


def prove(session: Session, party: Party, credential: str, now: datetime) -> Operator:
    """The operator whose passkey answered the challenge. Raises `PasskeyRefused`."""
    from webauthn import verify_authentication_response
    from webauthn.helpers import parse_authentication_credential_json
    from webauthn.helpers.exceptions import WebAuthnException

    challenge = _use_challenge(session, credential, now)
    try:
        answer = parse_authentication_credential_json(credential)
        row = session.scalar(
            sa.select(Passkey).where(Passkey.credential_id == answer.raw_id).options(joinedload(Passkey.operator))
        )
        if row is None:
            raise PasskeyRefused
        proved: Any = verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=party.host,
            expected_origin=party.origin,
            credential_public_key=row.public_key,
            credential_current_sign_count=row.sign_count,
            require_user_verification=True,
        )
    except WebAuthnException:
        raise PasskeyRefused from None
    row.sign_count, row.used_at = proved.new_sign_count, now
    return row.operator


def remove_passkey(session: Session, operator_id: str, passkey_id: str) -> None:
    """Forget one of an operator's passkeys."""
    session.execute(sa.delete(Passkey).where(Passkey.id == passkey_id, Passkey.operator_id == operator_id))
