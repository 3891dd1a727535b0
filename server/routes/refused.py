"""Routes of the contract that this version refuses by name."""

from typing import NoReturn

from fastapi import APIRouter

from engine.errors import invalid

router = APIRouter(include_in_schema=False)


@router.post("/watermark/detect", response_model=None)
async def detect_watermark() -> NoReturn:
    raise invalid("", "not_supported", "not supported yet: watermark detection")
