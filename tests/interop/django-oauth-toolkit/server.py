"""An authorization server (django-oauth-toolkit) and an API on loopback, for tests/interop/.

The first line on standard output is a JSON object with all that a test needs. The program ends when
its standard input ends.
"""

import base64
import hashlib
import json
import logging
import os
import secrets
import sys
import tempfile
import threading
from urllib.parse import unquote_plus

import django
from django.conf import settings

# The requests that arrived, in order.
LOG = []

# Characters of ids and secrets that must be encoded, and characters of other scripts.
ODD = " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ %3A%2B a+b "
NOT_LATIN = " ключ-鍵-🔑-é"


def configure(directory):
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.path.join(directory, "db.sqlite3"),
                "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
            }
        },
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
        LOGGING_CONFIG=None,
        MIDDLEWARE=["server.log"],
        # Creates the tables from the models, because the migrations would take a minute.
        MIGRATION_MODULES={"auth": None, "contenttypes": None, "oauth2_provider": None},
        OAUTH2_PROVIDER={
            "ACCESS_TOKEN_EXPIRE_SECONDS": 600,
            "SCOPES": {"read": "read", "write": "write", "introspection": "ask about tokens"},
            "DEFAULT_SCOPES": ["read"],
        },
        # A fast hash, because the tests need no strong one.
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF="server",
        SECRET_KEY=secrets.token_hex(),
        USE_TZ=True,
    )


def client_id_of(request):
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind == "Basic":
        return unquote_plus(base64.b64decode(value).decode().partition(":")[0])
    return request.POST.get("client_id")


def log(get_response):
    """Middleware that records each request with the status of its response."""

    def middleware(request):
        body = request.body
        response = get_response(request)
        if request.path == "/o/token/":
            LOG.append({"at": "token", "client_id": client_id_of(request), "status": response.status_code})
        elif request.path.startswith("/api/"):
            digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")
            LOG.append(
                {
                    "at": "api",
                    "path": request.path,
                    "method": request.method,
                    "status": response.status_code,
                    "body": {"length": len(body), "sha256": digest},
                }
            )
        return response

    return middleware


def urls():
    from django.http import JsonResponse
    from django.urls import include, path
    from django.views.decorators.csrf import csrf_exempt
    from oauth2_provider import urls as oauth2_urls
    from oauth2_provider.decorators import protected_resource, protected_resource_metadata

    def api(request, name):
        return JsonResponse({"name": name, "method": request.method})

    return [
        path("", include((oauth2_urls.metadata_urlpatterns, "oauth2_provider"), namespace="metadata")),
        path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
        # The first API answers an invalid token with a 401 (RFC 6750), the second with a 403, which
        # is the library's default.
        path("api/bearer/<name>", csrf_exempt(protected_resource_metadata(scopes=["read"])(api))),
        path("api/forbidden/<name>", csrf_exempt(protected_resource(scopes=["read"])(api))),
        path("control/log", lambda request: JsonResponse(LOG, safe=False)),
    ]


def make_clients():
    from oauth2_provider.models import Application

    def client(name, client_id=None, client_secret=None, grant=Application.GRANT_CLIENT_CREDENTIALS):
        client_id, client_secret = client_id or name, client_secret or secrets.token_urlsafe(48)
        Application.objects.create(
            name=name,
            client_id=client_id,
            client_secret=client_secret,
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=grant,
        )
        return {"client_id": client_id, "client_secret": client_secret}

    clients = {
        "odd-basic": client("odd-basic", "basic" + ODD, "s" + ODD),
        "odd-post": client("odd-post", "post" + ODD, "s" + ODD),
        "not-latin-basic": client("not-latin-basic", "basic" + NOT_LATIN, "s" + NOT_LATIN),
        "not-latin-post": client("not-latin-post", "post" + NOT_LATIN, "s" + NOT_LATIN),
    }
    # One client for each test, which counts the client's requests.
    for name in [
        "basic", "post", "wrong-secret", "scoped", "bad-scope", "resource", "revoked", "forbidden", "discovered", "downgraded",
        "api",
    ]:
        clients[name] = client(name)
    # These clients get a refresh token from a user.
    for name in ["refreshed", "refreshed-by-many"]:
        clients[name] = client(name, grant=Application.GRANT_PASSWORD)
    return clients


def make_user():
    from django.contrib.auth.models import User

    name, password = "alf", secrets.token_urlsafe(16)
    User.objects.create_user(name, password=password)
    return {"name": name, "password": password}


def serve():
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.daemon_threads = True
    server.set_app(get_wsgi_application())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def main():
    global urlpatterns
    # Omits the warnings about error responses, which tests provoke.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as directory:
        configure(directory)
        django.setup()
        from django.core.management import call_command

        call_command("migrate", run_syncdb=True, verbosity=0)
        urlpatterns = urls()
        clients, user = make_clients(), make_user()
        origin = serve()
        import oauth2_provider

        told = {
            "issuer": origin,
            "token_endpoint": f"{origin}/o/token/",
            "revocation_endpoint": f"{origin}/o/revoke_token/",
            "introspection_endpoint": f"{origin}/o/introspect/",
            "api": origin,
            "clients": clients,
            "user": user,
            "versions": {
                "django-oauth-toolkit": oauth2_provider.__version__,
                "django": django.__version__,
                "python": sys.version.split()[0],
            },
        }
        print(json.dumps(told), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    # Django imports this module under the name in the settings.
    sys.modules["server"] = sys.modules[__name__]
    main()
