"""Train the model that ships with the package, and its draft model, on the story corpus.

    python -m training.train CORPUS --size model --steps 2400
    python -m training.train CORPUS --size draft --steps 1200

Everything is seeded: batch `n` is a function of the seed and `n` alone, so a run that is stopped and started again
goes on with the batches it would have seen. The learning rate is constant and falls to zero over the last
`--cooldown` steps, during which the windows grow to the model's whole context; a run can therefore be ended early, or
made longer, by changing `--steps` alone.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from beamhouse.engine import builtin
from training.corpus import BOS, EOS, PAD, SOURCES, Stream, encode, read_documents, train_tokenizer, window_batch
from training.muon import Muon

BUILTIN = Path(builtin.__file__).parent
CONTEXT = 1024  # tokens: max_position_embeddings
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}"
    "{% if not loop.last or message['role'] != 'assistant' %}{{ '\\n' }}{% endif %}{% endfor %}"
)


SIZES: dict[str, dict[str, Any]] = {
    "model": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4,
              "intermediate_size": 640},
    "draft": {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
              "intermediate_size": 320},
}  # fmt: skip


def build(size: str, tokenizer: Tokenizer, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(BOS),
        eos_token_id=tokenizer.token_to_id(EOS),
        pad_token_id=tokenizer.token_to_id(PAD),
        initializer_range=0.03,
        **SIZES[size],
    )
    return LlamaForCausalLM(config)


Forward = Callable[..., Any]  # Any: the output object of the library
"""A model, or a compiled one."""


def loss_of(model: Forward, windows: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=windows[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model: Forward, stream: Stream, max_windows: int, length: int = 512) -> float:
    """Mean loss per token over the first windows of a held-out shard, in nats."""
    num = min(max_windows, (len(stream.token_ids) - 1) // length)
    windows = torch.stack([stream.token_ids[i * length : (i + 1) * length + 1] for i in range(num)])
    return sum(float(loss_of(model, part)) * len(part) for part in windows.split(8)) / num


@dataclass(slots=True)
class Run:
    """What one training run is made of; saved as a checkpoint between runs."""

    args: argparse.Namespace
    model: LlamaForCausalLM
    muon: Muon
    adam: torch.optim.AdamW
    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(cls, args: argparse.Namespace, tokenizer: Tokenizer) -> "Run":
        model = build(args.size, tokenizer, args.seed)
        named = list(model.named_parameters())
        matrices = [p for n, p in named if p.ndim == 2 and "embed" not in n]
        rest = [p for n, p in named if p.ndim != 2 or "embed" in n]
        muon = Muon(matrices, lr=args.lr)
        adam = torch.optim.AdamW(rest, lr=args.lr, betas=(0.9, 0.95), weight_decay=0.0)
        run = cls(args, model, muon, adam)
        if run.checkpoint.exists():
            saved = torch.load(run.checkpoint, weights_only=True)
            model.load_state_dict(saved["model"])
            adam.load_state_dict(saved["adam"])
            muon.buffers = saved["muon"]
            run.step, run.history = saved["step"], saved["history"]
        return run

    @property
    def checkpoint(self) -> Path:
        return Path(self.args.work) / f"{self.args.size}.pt"

    def save(self) -> None:
        state = {"model": self.model.state_dict(), "adam": self.adam.state_dict(), "muon": self.muon.buffers,
                 "step": self.step, "history": self.history}  # fmt: skip
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)

    def factor(self) -> float:
        """The learning rate at this step, as a share of the full one."""
        warm = min(1.0, (self.step + 1) / 50)
        cooled: float = min(1.0, (self.args.steps - self.step) / self.args.cooldown)
        return warm * cooled

    def advance(self, streams: list[Stream], shares: torch.Tensor, forward: Forward) -> float:
        cooling = self.step >= self.args.steps - self.args.cooldown
        length = CONTEXT if cooling else self.args.window
        rows = self.args.batch_tokens // length
        windows = window_batch(streams, shares, self.args.seed * 1_000_003 + self.step, rows, length)
        loss = loss_of(forward, windows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.args.lr * self.factor()
        self.muon.step(self.factor())
        self.adam.step()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        return float(loss.detach())


def train(run: Run, streams: list[Stream], held_out: list[Stream]) -> None:
    args = run.args
    shares = torch.tensor([source.share for source in SOURCES])
    forward: Forward = torch.compile(run.model, dynamic=False) if args.compile else run.model
    bar = tqdm(total=args.steps, initial=run.step, desc=f"training the {args.size}", unit="step")
    began, recent = time.monotonic(), []
    while run.step < args.steps:
        recent.append(run.advance(streams, shares, forward))
        bar.update()
        if run.step % args.every == 0 or run.step == args.steps:
            run.model.eval()
            losses = [held_out_loss(run.model, stream, 24) for stream in held_out]
            run.model.train()
            entry = {"step": run.step, "tokens": run.step * args.batch_tokens, "train": sum(recent) / len(recent)}
            entry |= {source.name or "books": loss for source, loss in zip(SOURCES, losses, strict=True)}
            run.history.append(entry)
            run.save()
            bar.set_postfix({k: f"{v:.3f}" for k, v in entry.items() if k not in ("step", "tokens")})
            tqdm.write(json.dumps(entry | {"minutes": round((time.monotonic() - began) / 60, 1)}))
            recent = []
    bar.close()


def export(run: Run, tokenizer: Tokenizer, held_out: list[Stream], out: Path) -> None:
    """Write the model as `from_pretrained` reads it, its weights in bfloat16, with the losses it reached."""
    run.model.eval()
    losses = {s.name or "books": held_out_loss(run.model, v, 10**6) for s, v in zip(SOURCES, held_out, strict=True)}
    torch.nn.Module.to(run.model, torch.bfloat16)
    config = run.model.config
    run.model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    run.model.save_pretrained(out)
    # Stored in two bytes a weight, computed in four: so small a model is as fast, and its answers are exact everywhere.
    stored = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(stored | {"dtype": "float32"}, indent=2, sort_keys=True) + "\n")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False, chat_template=CHAT_TEMPLATE,
    ).save_pretrained(out)  # fmt: skip
    report = {"parameters": run.model.num_parameters(), "settings": {k: str(v) for k, v in vars(run.args).items()
              if k not in ("corpus", "out", "work")}, "mix": [asdict(s) for s in SOURCES],
              "held_out_loss": losses, "history": run.history}  # fmt: skip
    (out / "training.json").write_text(json.dumps(report, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("corpus", type=Path, help="folder with the shards, as gzip text")
    parser.add_argument("--size", choices=SIZES, default="model")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--cooldown", type=int, default=400, help="steps over which the rate falls to zero")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--window", type=int, default=256, help="tokens per row before the cooldown")
    parser.add_argument("--lr", type=float, default=0.008)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=50, help="steps between checkpoints and held-out losses")
    parser.add_argument("--compile", action="store_true", help="compile the forward and backward passes")
    parser.add_argument("--work", type=Path, default=Path("build/builtin"), help="checkpoints")
    parser.add_argument("--out", type=Path, help="folder for the finished model; default: the one that ships")
    return parser.parse_args()


def main() -> None:
    args = parse()
    out = args.out or BUILTIN / args.size
    args.work.mkdir(parents=True, exist_ok=True)
    path = args.work / "tokenizer.json"
    if not path.exists():
        train_tokenizer(args.corpus).save(str(path))
    tokenizer = Tokenizer.from_file(str(path))
    streams = [encode(tokenizer, read_documents(args.corpus, "train", source)) for source in SOURCES]
    held_out = [encode(tokenizer, read_documents(args.corpus, "valid", source)) for source in SOURCES]
    run = Run.start(args, tokenizer)
    print(f"{run.model.num_parameters():,} parameters, {sum(len(s.token_ids) for s in streams):,} tokens in the corpus")
    train(run, streams, held_out)
    export(run, tokenizer, held_out, out)


if __name__ == "__main__":
    main()
