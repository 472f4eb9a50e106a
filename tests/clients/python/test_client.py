from __future__ import annotations

import threading
from pathlib import Path

import grpc
import numpy
import pytest
import spatial_mamba_client as smc
from fake_server import FakeServer, answer, busy, refuse
from PIL import Image
from spatial_mamba_client import Client, messages
from spatial_mamba_client.client import channel_options


def test_classify_returns_what_the_server_said(client: Client, server: FakeServer, photos: Path) -> None:
    result = client.classify(photos / "hat-1.jpg", model="clothing", top_k=2, version="1")
    assert result.top == result.classes[0]
    assert [(score.index, score.name) for score in result.classes] == [(0, "hat"), (1, "shoes")]
    assert result.top.probability == pytest.approx(0.75)
    assert result.top.logit is None
    assert (result.image_size.height, result.image_size.width) == (20, 30)
    assert (result.model.name, result.model.version) == ("clothing", "1")
    assert result.explanation is None
    (request,) = server.requests
    assert (request.model.name, request.model.version, request.top_k) == ("clothing", "1", 2)


def test_explanation_and_logits_come_when_asked_for(client: Client) -> None:
    result = client.classify(b"picture", explain=True, logits=True)
    assert [score.logit for score in result.classes] == [0.0, -1.0, -2.0]
    assert result.explanation is not None
    assert result.explanation.queue == pytest.approx(0.0015)
    assert result.explanation.inference == 2.0
    assert (result.explanation.batch_size, result.explanation.batch_closed_by) == (4, "idle")


def test_many_images_go_in_one_request_and_keep_their_order(client: Client, server: FakeServer) -> None:
    images = [Image.new("RGB", (width, 4)) for width in (7, 8, 9)]
    results = client.classify_many([*images, numpy.zeros((3, 10), numpy.uint8)])
    assert [result.image_size.width for result in results] == [7, 8, 9, 10]
    assert len(server.requests) == 1


def test_models_are_listed_and_a_task_of_a_newer_server_does_no_harm(client: Client) -> None:
    clothing, newer = client.models()
    assert (clothing.name, clothing.task, clothing.classes, clothing.ready) == ("clothing", "classify", ("hat",), True)
    assert clothing.limits.images_per_request == 64
    assert newer.task == "77"


def test_health_tells_serving_from_not_serving_and_unknown(client: Client) -> None:
    assert client.health()
    assert not client.health("detect")
    with pytest.raises(smc.NotFound):
        client.health("nothing")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, smc.InvalidArgument),
        (grpc.StatusCode.NOT_FOUND, smc.NotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, smc.FailedPrecondition),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, smc.ResourceExhausted),
        (grpc.StatusCode.DEADLINE_EXCEEDED, smc.DeadlineExceeded),
        (grpc.StatusCode.CANCELLED, smc.Cancelled),
        (grpc.StatusCode.INTERNAL, smc.Internal),
        (grpc.StatusCode.UNIMPLEMENTED, smc.Unimplemented),
        (grpc.StatusCode.UNAUTHENTICATED, smc.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, smc.PermissionDenied),
        (grpc.StatusCode.DATA_LOSS, smc.SpatialMambaError),
    ],
)
def test_every_code_has_its_error(client: Client, server: FakeServer, code: grpc.StatusCode, kind: type) -> None:
    server.classify = lambda request, context: refuse(context, code, "because")
    with pytest.raises(smc.SpatialMambaError) as caught:
        client.classify(b"picture")
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.message, caught.value.reason) == (code, "because", "")


def test_an_error_carries_reason_fields_and_facts(client: Client, server: FakeServer) -> None:
    info = messages.ErrorInfo(reason="IMAGE_DECODE_FAILED", metadata={"format": "JPEG"})
    fields = messages.BadRequest()
    fields.field_violations.add(field="images[0].encoded", description="the file ends early")
    server.classify = lambda request, context: refuse(
        context, grpc.StatusCode.INVALID_ARGUMENT, "images[0] is not a picture", info, fields
    )
    with pytest.raises(smc.InvalidArgument) as caught:
        client.classify(b"picture")
    error = caught.value
    assert error.reason == "IMAGE_DECODE_FAILED"
    assert error.metadata == {"format": "JPEG"}
    assert error.field_violations == (smc.FieldViolation("images[0].encoded", "the file ends early"),)
    assert error.retry_delay is None
    for part in ("INVALID_ARGUMENT", "not a picture", "IMAGE_DECODE_FAILED", "images[0].encoded", "ends early"):
        assert part in str(error)


def test_what_a_message_says_is_not_said_again_for_its_field() -> None:
    violation = smc.FieldViolation("images[0]", "no bytes")
    error = smc.InvalidArgument(grpc.StatusCode.INVALID_ARGUMENT, "images[0]: no bytes", field_violations=[violation])
    assert str(error) == "INVALID_ARGUMENT: images[0]: no bytes"


def test_details_of_another_make_do_not_hide_the_error(client: Client, server: FakeServer) -> None:
    def classify(request: object, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no model x")

    server.classify = classify
    with pytest.raises(smc.NotFound, match="no model x"):
        client.classify(b"picture")


@pytest.mark.parametrize("size", [100, 1 << 20], ids=["small", "1 MiB"])
def test_a_busy_server_is_asked_again_when_it_says(client: Client, server: FakeServer, size: int) -> None:
    def classify(request: object, context: grpc.ServicerContext) -> object:
        if len(server.requests) < 3:
            busy(context)
        return answer(request)

    server.classify = classify
    assert client.classify(b"x" * size).top.name == "hat"
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_given_up_with_its_reason_and_delay(client: Client, server: FakeServer) -> None:
    server.classify = lambda request, context: busy(context, 0.01)
    with pytest.raises(smc.Unavailable) as caught:
        client.classify(b"picture")
    assert type(caught.value) is smc.Unavailable
    assert (caught.value.reason, caught.value.metadata) == ("QUEUE_FULL", {"limit": "1024"})
    assert caught.value.retry_delay == pytest.approx(0.01)
    assert "try again in 0.01 s" in str(caught.value)
    assert len(server.requests) == 5


def test_the_deadline_ends_a_call(client: Client, server: FakeServer) -> None:
    end = threading.Event()
    server.classify = lambda request, context: end.wait(30) and answer(request)
    try:
        with pytest.raises(smc.DeadlineExceeded):
            client.classify(b"picture", deadline=0.2)
    finally:
        end.set()


def test_an_address_without_server_is_named(dead_target: str) -> None:
    with Client(dead_target) as client, pytest.raises(smc.Unreachable, match=dead_target):
        client.health()


@pytest.mark.parametrize(
    ("target", "direct"),
    [("localhost:8001", True), ("127.0.0.1:1", True), ("[::1]:8001", True), ("vision:8001", False), ("10.0.0.1:1", False)],
)
def test_a_proxy_of_the_environment_is_not_asked_for_loopback(target: str, direct: bool) -> None:
    assert (("grpc.enable_http_proxy", 0) in channel_options(target)) is direct
