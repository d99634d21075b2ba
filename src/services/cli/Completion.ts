// `groundstate completion`: scripts that teach a shell the commands and flags.
import { Command } from "@effect/cli"
import { Effect, Either } from "effect"
import { UsageInvalid } from "../../schema/error/CliError.ts"
import { requiredArgument } from "./inputs.ts"
import { Screen } from "./Screen.ts"
import { subcommand } from "./subcommand.ts"

const shells = ["bash", "zsh", "fish"] as const
type Shell = (typeof shells)[number]

/** Flags that @effect/cli offers everywhere and this program does not have. */
const foreign = ["--completions", "--log-level", "--wizard"]

/** The generator's lines without flags that are not ours; lists of words lose them, lines about one of them go. */
export const ownLines = (lines: ReadonlyArray<string>, shell: Shell): ReadonlyArray<string> =>
  shell === "bash"
    ? lines.map((line) =>
        line
          .split(" ")
          .filter((word) => !foreign.includes(word))
          .join(" ")
      )
    : lines.filter(
        (line) =>
          !foreign.some((flag) => line.includes(`'${flag}[`) || line.includes(` -l ${flag.slice(2)} `))
      )

const shellOf = (name: string): Either.Either<Shell, UsageInvalid> => {
  const shell = shells.find((candidate) => candidate === name)
  return shell === undefined
    ? Either.left(
        new UsageInvalid({
          problem: `There is no completion for '${name}'.`,
          next: `Give one of ${shells.join(", ")}.`
        })
      )
    : Either.right(shell)
}

/** The subcommand for a root that is only known once all commands are. */
export const makeCompletion = (root: () => Command.Command<string, unknown, unknown, unknown>) =>
  subcommand({
    name: "completion",
    summary: "Print a script that completes commands and flags in your shell",
    examples: [
      ["completion bash > /etc/bash_completion.d/groundstate", "bash"],
      ["completion zsh > ~/.zsh/completions/_groundstate", "zsh, with that folder in fpath"],
      ["completion fish > ~/.config/fish/completions/groundstate.fish", "fish"]
    ],
    inputs: { shell: requiredArgument("bash|zsh|fish", "the shell") },
    run: ({ shell: name }) =>
      Effect.gen(function* () {
        const screen = yield* Screen
        const shell = yield* shellOf(name)
        const generate =
          shell === "bash"
            ? Command.getBashCompletions
            : shell === "zsh"
              ? Command.getZshCompletions
              : Command.getFishCompletions
        const lines = yield* generate(root(), "groundstate")
        yield* screen.out.write(`${ownLines(lines, shell).join("\n")}\n`)
      })
  })
