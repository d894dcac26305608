"""Every command, and where its function lives; nothing is imported until it runs."""

from lpm.build import closest

TRAINER = {
    "fit": "train a recipe",
    "validate": "measure on the validation set",
    "test": "measure on the test set",
    "predict": "generate with a trained model",
}

COMMANDS: dict[tuple[str, ...], tuple[str, str]] = {
    ("data", "puppets"): ("lpm.data.puppets.command:puppets", "draw a puppet corpus"),
    ("data", "check"): ("lpm.data.puppets.command:check", "check shards against the schema"),
    ("data", "pairs"): ("lpm.train.pair_command:pairs", "make pairs of preference from seeds and scores"),
    ("data", "trajectories"): ("lpm.train.trajectory_command:trajectories", "let a teacher perform, to distil from"),
    ("generate",): ("lpm.train.generate:generate", "make a video from image, voice and text files"),
    ("stream",): ("lpm.train.stream_command:stream", "make a video live, from files and pipes, chunk by chunk"),
    ("weights", "export"): ("lpm.train.export:export", "write a checkpoint's weights as a folder to share"),
    ("weights", "push"): ("lpm.train.export:push", "upload a folder of weights to the Hugging Face Hub"),
    ("weights", "convert"): ("lpm.train.weights:convert", "bring Wan2.1's transformer into our layout"),
    ("weights", "info"): ("lpm.train.weights:info", "say what is in a file or folder of weights"),
    ("doctor",): ("lpm.cli.doctor:doctor", "report versions, devices and optional parts"),
}

# optional modules and the extra that brings them
EXTRAS = {
    "espeakng_loader": "puppets",
    "cv2": "puppets",
    "matplotlib": "puppets",
    "transformers": "models",
    "diffusers": "models",
    "peft": "models",
}


def overview(program: str, group: str | None = None) -> str:
    """Return the help page of ``lpm``, ``lightning`` or of one group such as ``lpm data``.

    >>> "lpm data puppets" in overview("lpm", "data")
    True
    """
    trainer = [(f"{program} {word} --config RECIPE", text) for word, text in TRAINER.items()]
    ours = [(f"lpm {' '.join(path)}", text) for path, (_, text) in COMMANDS.items() if group in (None, path[0])]
    rows = ours if group else trainer + ours
    width = max(len(left) for left, _ in rows)
    return "\n".join(
        [
            f"usage: {program} {group or ''}".rstrip() + " COMMAND ...",
            "",
            *(f"  {left:<{width}}  {right}" for left, right in rows),
            "",
            "Each command explains itself with --help; --traceback shows the full report of an error.",
        ]
    )


def unknown(program: str, words: list[str]) -> str:
    """Return the message for words that are no command.

    >>> unknown("lpm", ["data", "pupets"])
    "unknown command 'lpm data pupets'; did you mean 'data puppets'? See lpm --help"
    """
    known = [*TRAINER, *(" ".join(path) for path in COMMANDS if program == "lpm")]
    groups = {path[0] for path in COMMANDS if len(path) > 1}
    typed = " ".join(words[: 2 if words[0] in groups else 1])
    return f"unknown command '{program} {typed}'{closest(typed, known) or '.'} See {program} --help"
