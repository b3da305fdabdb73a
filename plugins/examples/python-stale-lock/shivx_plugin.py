"""What a ShivX recovery plugin in Python needs besides its own steps.

It does the handshake of hashicorp/go-plugin with AutoMTLS and serves the contract of
recovery.proto. It wants Debian's python3-grpcio, python3-protobuf and python3-cryptography,
or the packages of the same names from PyPI.

A plugin is an object with

    describe()           -> recovery_pb2.Description
    recover(request)     -> (summary, [change, ...])

and, for each further step it claims in its description, a method of that name. A step raises
Failure when it fails. request has the fields of recovery_pb2.RunRequest in it, and
options, progress(text) and cancelled (a threading.Event) besides.
"""

import base64
import datetime
import hashlib
import json
import os
import queue
import signal
import sys
import tempfile
import threading
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import recovery_pb2 as pb

COOKIE = ("SHIVX_PLUGIN", "recovery-v1")
CORE_PROTOCOL, PLUGIN_PROTOCOL = 1, 1


class Failure(Exception):
    """A step that failed, with what a person can do about it."""

    def __init__(self, message, hint="", retryable=False, option=""):
        super().__init__(message)
        self.event = pb.Failure(message=message, hint=hint, retryable=retryable, option=option)


class Request:
    """One step of one run; the fields of RunRequest are attributes."""

    def __init__(self, message, report):
        self._message = message
        self._report = report
        self.cancelled = threading.Event()

    def __getattr__(self, name):
        return getattr(self._message, name)

    @property
    def options(self):
        try:
            options = json.loads(self._message.options or b"{}")
        except ValueError as e:
            raise Failure(f"options are not JSON: {e}") from e
        if not isinstance(options, dict):
            raise Failure("options are not a JSON object")
        return options

    def progress(self, text):
        self._report(text)


class Servicer:
    """Answers the two calls of the contract with a plugin's methods."""

    def __init__(self, plugin):
        self._plugin = plugin

    def describe(self, _request, _context):
        return self._plugin.describe()

    def run(self, message, context):
        events = queue.Queue(maxsize=100)
        request = Request(message, lambda text: events.put(pb.RunEvent(progress=text)))
        context.add_callback(request.cancelled.set)
        threading.Thread(target=lambda: events.put(self._final(message.step, request)), daemon=True).start()
        while True:
            event = events.get()
            yield event
            if event.WhichOneof("event") != "progress":
                return

    def _final(self, step, request):
        try:
            if step not in self._plugin.describe().steps:
                raise Failure(f"the plugin does not implement step {step!r}")
            answer = getattr(self._plugin, step)(request)
        except Failure as e:
            return pb.RunEvent(failure=e.event)
        except Exception as e:  # a fault of the plugin is a failed step, not a dead process
            return pb.RunEvent(failure=pb.Failure(message=f"{type(e).__name__}: {e}"))
        if isinstance(answer, pb.Result):
            return pb.RunEvent(result=answer)
        summary, changes = answer
        return pb.RunEvent(result=pb.Result(summary=summary, changes=changes))


def serve(plugin):
    """The whole main function of a plugin."""
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        explain(plugin)
        sys.exit(1)
    servicer = Servicer(plugin)
    handler = grpc.method_handlers_generic_handler("shivx.plugin.v1.Recovery", {
        "Describe": grpc.unary_unary_rpc_method_handler(
            servicer.describe, pb.DescribeRequest.FromString, pb.Description.SerializeToString),
        "Run": grpc.unary_stream_rpc_method_handler(
            servicer.run, pb.RunRequest.FromString, pb.RunEvent.SerializeToString),
    })
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((handler,))
    key, certificate, der = make_certificate()
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], os.environ["PLUGIN_CLIENT_CERT"].encode(), require_client_auth=True)
    # The agent makes a folder for the socket that nobody else can enter, and removes it.
    folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp()
    address = os.path.join(folder, "plugin.sock")
    server.add_secure_port("unix:" + address, credentials)
    server.start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # go-plugin wants the certificate in base64 without padding.
    answer = base64.b64encode(der).decode().rstrip("=")
    print(f"{CORE_PROTOCOL}|{PLUGIN_PROTOCOL}|unix|{address}|grpc|{answer}", flush=True)
    sys.stdout = sys.stderr
    ended.wait()
    server.stop(grace=1).wait()


def make_certificate():
    """A key and a certificate for this one run, for the name go-plugin asks for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate.public_bytes(serialization.Encoding.PEM),
        certificate.public_bytes(serialization.Encoding.DER),
    )


def explain(plugin):
    """Tells a person who started the plugin by hand what to do with it."""
    d = plugin.describe()
    path = os.path.abspath(sys.argv[0])
    with open(path, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    print(f"""{d.name} {d.version} is a ShivX recovery plugin: {d.summary}
It is started by ShivX, not by hand. To use it, add this to shivx.yaml:

plugins:
  - name: {d.name}
    path: {path}
    sha256: {digest}""", file=sys.stderr)
