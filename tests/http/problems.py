"""What every error answer has in common."""

import httpx


def check_problem(response: httpx.Response, status: int) -> dict:
    problem = response.json()
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert len(response.content) <= 4096
    assert len(problem["errors"]) <= 10
    return problem
