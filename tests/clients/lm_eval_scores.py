"""What lm-eval finds with the model in its own process and with the server, as JSON.

It runs as a process of its own, since what it imports warns:

    python -m tests.clients.lm_eval_scores MODEL_DIRECTORY ADDRESS
"""

import json
import sys
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

TASKS = Path(__file__).parent / "lm_eval_tasks"
SCORED, WRITTEN = ["own_choices", "own_stories"], ["own_beginnings"]


def main(model: str, address: str) -> None:
    tasks = TaskManager(include_path=str(TASKS), include_defaults=False)

    def found(kind: str, names: list[str], is_chat: bool = False, **arguments: Any) -> dict[str, Any]:
        result = simple_evaluate(
            kind,
            model_args=arguments,
            tasks=names,
            task_manager=tasks,
            apply_chat_template=is_chat,
            bootstrap_iters=0,
            batch_size=1,
        )
        samples = {name: [sample["filtered_resps"] for sample in result["samples"][name]] for name in names}
        return {"results": result["results"], "samples": samples}

    completions = {"model": model, "base_url": f"{address}/v1/completions", "tokenizer_backend": "huggingface"}
    with_start = {"add_bos_token": True, "max_length": 1024}
    everything = {
        "in process": found("hf", [*SCORED, *WRITTEN], pretrained=model, device="cpu"),
        "completions": found("local-completions", [*SCORED, *WRITTEN], **completions, **with_start),
        "completions, 4 at once": found(
            "local-completions", [*SCORED, *WRITTEN], **completions, **with_start, num_concurrent=4
        ),
        "completions of texts": found("local-completions", WRITTEN, **completions, tokenized_requests=False),
        "chat in process": found("hf", WRITTEN, is_chat=True, pretrained=model, device="cpu"),
        "chat": found(
            "local-chat-completions", WRITTEN, is_chat=True, model=model, base_url=f"{address}/v1/chat/completions"
        ),
    }
    print(json.dumps(everything))


if __name__ == "__main__":
    main(*sys.argv[1:])
