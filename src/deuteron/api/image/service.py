"""The Image v2 service: its routes, its versions, and Glance's shape of errors.

Glance answers errors as WebOb does: an HTML page, or JSON or plain text if the client asks for it. Clients read
the sentence out of the page.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from deuteron.api.call import MAX_BODY_BYTES, Call, Mode, Reply, Route
from deuteron.api.image import (
    files,
    images,
    info,
    members,
    metadef_parts,
    metadef_schemas,
    metadefs,
    schemas,
    staging,
    stores,
    tasks,
)
from deuteron.model.errors import ApiError

_VERSIONS: Final = ("v2.9", "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0")
"""As Glance without several stores and without a cache; its newest two are not all here, so they are not named."""
_WITH_STORES: Final = ("v2.15", "v2.13", "v2.12", "v2.11", "v2.10", "v2.9", "v2.8", *_VERSIONS[1:])
"""As Glance without a cache; its newest is not all here."""


class ImageService:
    """Glance's dialect at `/image`."""

    name = "image"
    prefix = "/image"
    max_body_bytes = MAX_BODY_BYTES
    exact_paths = True
    same_words = False

    def routes(self) -> tuple[Route, ...]:
        write, stream = Mode.WRITE, Mode.ASYNC
        image = "/v2/images/{id}"
        return (
            Route("GET", "/", lambda call, tx: _versions(call, 300), auth=False),
            Route("GET", "/versions", lambda call, tx: _versions(call, 200), auth=False),
            Route("GET", "/v2/images", images.list_images),
            Route("POST", "/v2/images", images.create_image, write),
            Route("GET", image, images.show_image),
            Route("PATCH", image, images.patch_image, write),
            Route("DELETE", image, files.delete, stream),
            Route("PUT", image + "/file", files.upload, stream),
            Route("GET", image + "/file", files.download, stream),
            Route("PUT", image + "/stage", staging.stage, stream),
            Route("POST", image + "/import", staging.import_image, stream),
            Route("GET", image + "/tasks", tasks.list_tasks_of_image),
            Route("POST", image + "/actions/deactivate", images.deactivate, write),
            Route("POST", image + "/actions/reactivate", images.reactivate, write),
            Route("PUT", image + "/tags/{tag}", images.add_tag, write),
            Route("DELETE", image + "/tags/{tag}", images.remove_tag, write),
            Route("GET", image + "/members", members.list_members),
            Route("POST", image + "/members", members.add_member, write),
            Route("GET", image + "/members/{member_id}", members.show_member),
            Route("PUT", image + "/members/{member_id}", members.update_member, write),
            Route("DELETE", image + "/members/{member_id}", members.remove_member, write),
            *(_schema(name, of) for name, of in {**_SCHEMAS, **metadef_schemas.SCHEMAS}.items()),
            Route("GET", "/v2/info/import", info.import_methods),
            Route("GET", "/v2/info/stores", stores.list_stores),
            Route("GET", "/v2/info/stores/detail", stores.list_details),
            Route("DELETE", "/v2/stores/{store_id}/{id}", stores.delete_copy, stream),
            Route("GET", "/v2/info/usage", info.usage),
            Route("GET", "/v2/tasks", tasks.list_tasks),
            Route("POST", "/v2/tasks", tasks.create_task, stream),
            Route("GET", "/v2/tasks/{task_id}", tasks.show_task),
            Route("DELETE", "/v2/tasks/{task_id}", tasks.delete_task),
            Route("GET", metadefs.PATH, metadefs.list_namespaces),
            Route("POST", metadefs.PATH, metadefs.create_namespace, write),
            Route("GET", metadefs.PATH + "/{namespace}", metadefs.show_namespace),
            Route("PUT", metadefs.PATH + "/{namespace}", metadefs.update_namespace, write),
            Route("DELETE", metadefs.PATH + "/{namespace}", metadefs.delete_namespace, write),
            Route("GET", "/v2/metadefs/resource_types", metadefs.list_resource_types),
            *metadef_parts.routes(),
        )

    def prepare(self, call: Call) -> None:
        pass

    def error(self, call: Call | None, error: ApiError) -> Reply:
        status = HTTPStatus(error.status)
        if error.status == 401:
            # The middleware in front of Glance answers this one.
            message = "The request you have made requires authentication."
            body = {"error": {"code": 401, "title": "Unauthorized", "message": message}}
            where = "" if call is None else f"{call.base_url}/identity"
            return Reply(401, body, {"WWW-Authenticate": f'Keystone uri="{where}"'})
        line = f"{status.value} {status.phrase}"
        headers = {"Allow": error.detail.replace(",", ", ")} if error.status == 405 else {}
        accept = "" if call is None else call.headers.get("accept", "")
        if _prefers_json(accept):
            return Reply(error.status, {"message": error.message, "code": line, "title": status.phrase}, headers)
        if accept and "html" not in accept and "*/*" not in accept and "text/*" not in accept:
            text = f"{line}\n\n{error.message}\n\n"
            return Reply(error.status, text.encode(), headers, "text/plain; charset=UTF-8")
        page = (
            f"<html>\n <head>\n  <title>{line}</title>\n </head>\n <body>\n  <h1>{line}</h1>\n"
            f"  {html.escape(error.message)}<br /><br />\n\n\n </body>\n</html>"
        )
        return Reply(error.status, page.encode(), headers, "text/html; charset=UTF-8")


def _prefers_json(accept: str) -> bool:
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "application/json" in kinds and "text/html" not in kinds and kinds[0] != "*/*"


def _versions(call: Call, status: int) -> Reply:
    entries = [
        {
            "id": id,
            "status": "CURRENT" if number == 0 else "SUPPORTED",
            "links": [{"rel": "self", "href": f"{call.base_url}/image/v2/"}],
        }
        for number, id in enumerate(_WITH_STORES if call.settings.operator.image.stores else _VERSIONS)
    ]
    return Reply(status, {"versions": entries})


_SCHEMAS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "image": schemas.image_schema,
    "images": lambda: schemas.collection_schema("images", schemas.image_schema()),
    "member": schemas.member_schema,
    "members": lambda: schemas.collection_schema("members", schemas.member_schema()),
    "task": schemas.task_schema,
    "tasks": lambda: schemas.collection_schema("tasks", schemas.task_schema(but=tasks.OF_ONE)),
}


def _schema(name: str, of: Callable[[], dict[str, Any]]) -> Route:
    return Route("GET", f"/v2/schemas/{name}", lambda call, tx: Reply(200, of()))
