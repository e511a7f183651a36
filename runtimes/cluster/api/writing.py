"""create, update, patch, apply, delete and deletecollection, with their status and scale subresources.

Law: what a body must be for its place is decided here (name, namespace, fields); what it must be for its kind is
decided by admission below the Client. IO: the Client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from funcs.api import admission, meta
from funcs.api.core import NAMESPACE
from funcs.api.kinds import Kind
from funcs.api.meta import Object, Objects
from funcs.api.patch import apply_json
from funcs.control import scale
from funcs.control.client import Client, PatchType, Selection, WriteOptions
from funcs.errors import BadRequest, FieldError, Forbidden, NotFound, UnsupportedMediaType

from . import media, requests, status
from .calls import Call, answer
from .escalation import Escalation
from .reading import Reading
from .schemas import Schemas


@dataclass(frozen=True, slots=True)
class Writing:
    """The writing verbs over one Client."""

    client: Client
    schemas: Schemas
    rules: Mapping[Kind, admission.Rules]
    reading: Reading
    escalation: Escalation

    async def create(self, call: Call, kind: Kind) -> Response:
        body, warnings = self._body(call, kind)
        if kind.namespaced and not call.info.namespace:
            raise BadRequest("an empty namespace may not be set during creation")
        await self._refuse_closed_namespace(call, kind, meta.name(body))
        options = call.write_options()
        self.escalation.check(kind, body, call.user)
        made = await self.client.create(kind, body, options)
        warnings += self._warnings(kind, made, None, options)
        return self.reading.shown(call, kind, made, code=201, warnings=warnings)

    async def update(self, call: Call, kind: Kind) -> Response:
        """PUT: Kubernetes creates nothing by it for these kinds."""
        if call.info.subresource == "scale":
            return await self._update_scale(call, kind)
        body, warnings = self._body(call, kind)
        self._refuse_other_name(call, body)
        options = call.write_options()
        if not call.info.subresource:
            self.escalation.check(kind, body, call.user)
        made = await self.client.update(kind, body, options, subresource=call.info.subresource)
        if not call.info.subresource:
            warnings += self._warnings(kind, made, made, options)
        return self.reading.shown(call, kind, made, warnings=warnings)

    async def patch(self, call: Call, kind: Kind) -> Response:
        patch_type = _patch_type(call)
        if patch_type is PatchType.APPLY:
            return await self._apply(call, kind)
        options = call.write_options()
        patch, warnings = await self._patch_body(call, kind, patch_type, options)
        if kind in self.escalation.guarded and not call.info.subresource:
            self.escalation.check(kind, await self._preview(call, kind, patch, patch_type, options), call.user)
        made = await self.client.patch(
            kind, call.info.name, patch, call.info.scoped, type=patch_type, subresource=call.info.subresource,
            options=options,
        )  # fmt: skip
        if call.info.subresource:
            return self._shown_part(call, kind, made)
        warnings += self._warnings(kind, made, made, options)
        return self.reading.shown(call, kind, made, warnings=warnings)

    async def delete(self, call: Call, kind: Kind) -> Response:
        options = requests.delete_options(call.query, _delete_body(call))
        uid = meta.uid(await self.client.get(kind, call.info.name, call.info.scoped))
        left = await self.client.delete(kind, call.info.name, call.info.scoped, options)
        if left is None:
            return answer(call, status.success(call.info, uid))
        return self.reading.shown(call, kind, left)

    async def delete_collection(self, call: Call, kind: Kind) -> Response:
        options = requests.delete_options(call.query, _delete_body(call))
        found = await self._all(call, kind)
        for obj in found:
            try:
                await self.client.delete(kind, meta.name(obj), meta.namespace(obj) or None, options)
            except NotFound:
                continue  # somebody else was faster
        items = {"metadata": {}, "items": found}
        return answer(call, {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, **items})

    async def _all(self, call: Call, kind: Kind) -> Objects:
        selection = Selection(
            namespace=call.info.scoped,
            labels=call.query.get("labelSelector", ""),
            fields=call.query.get("fieldSelector", ""),
        )
        return (await self.client.list(kind, selection)).items

    async def _apply(self, call: Call, kind: Kind) -> Response:
        if not call.query.get("fieldManager"):
            problem = FieldError("Required value", "fieldManager", "is required for apply patch")
            raise BadRequest(f"PatchOptions.meta.k8s.io is invalid: {problem}", causes=[problem])
        options = call.write_options()
        if call.info.subresource == "scale":
            raise UnsupportedMediaType("apply is not supported for the scale subresource: use a merge patch")
        body, warnings = self._body(call, kind, PatchType.APPLY)
        self._refuse_other_name(call, body)
        before = await self._found(call, kind)
        if before is None:
            await self._refuse_closed_namespace(call, kind, call.info.name)
        if not call.info.subresource:
            self.escalation.check(kind, body, call.user)
        made = await self.client.apply(
            kind, body, options, force=requests.is_true(call.query, "force"), subresource=call.info.subresource
        )
        warnings += self._warnings(kind, made, before, options)
        return self.reading.shown(call, kind, made, code=200 if before is not None else 201, warnings=warnings)

    async def _update_scale(self, call: Call, kind: Kind) -> Response:
        body = call.object()
        self._refuse_other_name(call, body)
        made = await self.client.update(kind, body, call.write_options(), subresource="scale")
        return self._shown_part(call, kind, made)

    def _shown_part(self, call: Call, kind: Kind, made: Object) -> Response:
        """What a write of a subresource answers: a Scale for scale, the whole object for status."""
        if call.info.subresource == "scale" and made.get("kind") != "Scale":
            made = scale.read(kind, made)
        return answer(call, made) if call.info.subresource == "scale" else self.reading.shown(call, kind, made)

    async def _patch_body(
        self, call: Call, kind: Kind, type: PatchType, options: WriteOptions
    ) -> tuple[Object | Objects, list[str]]:
        patch = media.decode(call.body, call.content_type)
        if type is PatchType.JSON:
            if not isinstance(patch, list):
                raise BadRequest("a JSON patch is a list of operations")
            if call.info.subresource != "scale":
                old = await self.client.get(kind, call.info.name, call.info.scoped)
                self.schemas.checked(kind, apply_json(old, patch), options.field_validation)
            return patch, []
        if not isinstance(patch, dict):
            raise BadRequest("the body of the patch is not a JSON object")
        if call.info.subresource == "scale":
            return patch, []
        return self.schemas.checked_patch(kind, patch, options.field_validation)

    async def _preview(
        self, call: Call, kind: Kind, patch: Object | Objects, type: PatchType, options: WriteOptions
    ) -> Object:
        """What a patch would make, for checks that need the whole."""
        dry = WriteOptions(manager=options.manager, dry_run=True, user=options.user)
        return await self.client.patch(kind, call.info.name, patch, call.info.scoped, type=type, options=dry)

    def _body(self, call: Call, kind: Kind, type: PatchType | None = None) -> tuple[Object, list[str]]:
        """The object of a body: of this kind, in this namespace, with fields that are known."""
        body = call.object()
        for field, wanted in (("apiVersion", kind.api_version), ("kind", kind.kind)):
            found = body.setdefault(field, wanted)
            if found != wanted:
                raise BadRequest(
                    f"the {field} in the data ({str(found)[:64]}) does not match the expected {field} ({wanted})"
                )
        metadata = body.setdefault("metadata", {})
        if not isinstance(metadata, dict):
            raise BadRequest("metadata: must be a mapping")
        if kind.namespaced and call.info.namespace:
            if metadata.setdefault("namespace", call.info.namespace) not in (call.info.namespace, ""):
                raise BadRequest(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = call.info.namespace
        if type is PatchType.APPLY:
            metadata.setdefault("name", call.info.name)
            if metadata.get("managedFields"):
                raise BadRequest("metadata.managedFields must be nil")
        return self.schemas.checked(kind, body, requests.field_validation(call.query))

    def _refuse_other_name(self, call: Call, body: Object) -> None:
        found = meta.name(body)
        if found != call.info.name:
            raise BadRequest(f"the name of the object ({found}) does not match the name on the URL ({call.info.name})")

    async def _found(self, call: Call, kind: Kind) -> Object | None:
        try:
            return await self.client.get(kind, call.info.name, call.info.scoped)
        except NotFound:
            return None

    async def _refuse_closed_namespace(self, call: Call, kind: Kind, name: str) -> None:
        """Raises NotFound for a namespace that is not there, Forbidden for one that is going."""
        if not kind.namespaced:
            return
        namespace = await self.client.get(NAMESPACE, call.info.namespace)
        if meta.is_deleting(namespace):
            where = call.info.namespace
            raise Forbidden(
                f'{kind.resource} "{name}" is forbidden: unable to create new content in namespace {where} '
                "because it is being terminated",
                causes=[FieldError(f"namespace {where} is being terminated", "metadata.namespace")],
            )

    def _warnings(self, kind: Kind, made: Object, old: Object | None, options: WriteOptions) -> list[str]:
        rules = self.rules.get(kind)
        if rules is None:
            return []
        operation: admission.Operation = "CREATE" if old is None else "UPDATE"
        request = admission.Request(kind=kind, operation=operation, object=made, old=old, user=options.user)
        return rules.warn(request)


def _patch_type(call: Call) -> PatchType:
    content_type = call.content_type.partition(";")[0].strip().lower()
    try:
        return PatchType(content_type)
    except ValueError:
        accepted: Sequence[str] = [each.value for each in PatchType]
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
        ) from None


def _delete_body(call: Call) -> Object:
    body = call.optional_object()
    if body and body.get("kind") not in (None, "DeleteOptions"):
        raise BadRequest(f'the body of a delete is DeleteOptions, not "{str(body.get("kind"))[:64]}"')
    return body
