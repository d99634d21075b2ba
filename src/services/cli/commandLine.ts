// The words of a command line against the pages of help: which command is meant, and whether every flag is known.
import { Either } from "effect"
import { UsageInvalid } from "../../schema/error/CliError.ts"
import { nearestName } from "../runtime/definitions/nearestName.ts"
import type { FlagDoc } from "./inputs.ts"
import type { Page } from "./subcommand.ts"

/** What a command line asks for. `path` starts with the root's name. */
export type Asked =
  | { readonly kind: "help"; readonly page: Page; readonly path: ReadonlyArray<string> }
  | { readonly kind: "version" }
  /** A group without its verb: its help is shown, but the command line was not complete. */
  | { readonly kind: "incomplete"; readonly page: Page; readonly path: ReadonlyArray<string> }
  | {
      readonly kind: "run"
      readonly words: ReadonlyArray<string>
      readonly page: Page
      readonly path: ReadonlyArray<string>
    }

const helpFor = (path: ReadonlyArray<string>): string => `See \`${path.join(" ")} --help\`.`

/**
 * Reads the words behind the program's name. Flags come out in the form that @effect/cli takes (`-o=json` and
 * `-ojson` as `-o json`), before the arguments. An unknown command or flag is named with the nearest known one.
 */
export const readCommandLine = (
  root: Page,
  words: ReadonlyArray<string>
): Either.Either<Asked, UsageInvalid> => {
  let page = root
  const path = [root.name]
  let next = 0
  for (; next < words.length && page.children.length > 0; next++) {
    const word = words[next]
    if (word === "-h" || word === "--help") return Either.right({ kind: "help", page, path })
    if (word === "--version" && page === root) return Either.right({ kind: "version" })
    if (word === "help" && page === root) continue
    const child: Page | undefined = page.children.find((candidate) => candidate.name === word)
    if (child === undefined) return Either.left(unknownCommand(page, path, word))
    page = child
    path.push(child.name)
  }
  const asksHelp = words[0] === "help"
  if (asksHelp) return Either.right({ kind: "help", page, path })
  if (page.children.length > 0) {
    return Either.right({ kind: page === root ? "help" : "incomplete", page, path })
  }
  const flags: Array<string> = []
  const positional: Array<string> = []
  for (; next < words.length; next++) {
    const word = words[next]
    if (word === "--") {
      positional.push(...words.slice(next + 1))
      break
    }
    if (word === "-h" || word === "--help") return Either.right({ kind: "help", page, path })
    if (!word.startsWith("-") || word === "-") {
      positional.push(word)
      continue
    }
    const split = splitFlag(page, word)
    if (split === undefined) return Either.left(unknownFlag(page, path, word))
    const [flag, inline] = split
    if (flag.value === undefined) {
      if (inline !== undefined) {
        return Either.left(
          new UsageInvalid({ problem: `--${flag.name} takes no value.`, next: helpFor(path) })
        )
      }
      flags.push(`--${flag.name}`)
      continue
    }
    const value = inline ?? words[++next]
    if (value === undefined) {
      return Either.left(
        new UsageInvalid({
          problem: `--${flag.name} needs a value: --${flag.name} ${flag.value}.`,
          next: helpFor(path)
        })
      )
    }
    if (flag.choices !== undefined && !flag.choices.includes(value)) {
      const near = nearestName(value, flag.choices)
      return Either.left(
        new UsageInvalid({
          problem: `--${flag.name} takes ${flag.choices.join(", ")}, not '${value}'.`,
          next: near === undefined ? helpFor(path) : `Did you mean --${flag.name} ${near}? ${helpFor(path)}`
        })
      )
    }
    flags.push(`--${flag.name}`, value)
  }
  const given = new Set(flags.filter((word) => word.startsWith("--")))
  for (const flag of page.flags) {
    if (flag.required && !given.has(`--${flag.name}`)) {
      return Either.left(
        new UsageInvalid({
          problem: `\`${path.join(" ")}\` needs --${flag.name} ${flag.value}: ${flag.about}.`,
          next: helpFor(path)
        })
      )
    }
  }
  const least = page.arguments.filter((argument) => argument.required)
  if (positional.length < least.length) {
    const missing = least[positional.length]
    return Either.left(
      new UsageInvalid({
        problem: `\`${path.join(" ")}\` needs ${missing.name}: ${missing.about}.`,
        next: helpFor(path)
      })
    )
  }
  if (!page.arguments.some((argument) => argument.repeated) && positional.length > page.arguments.length) {
    return Either.left(
      new UsageInvalid({
        problem: `\`${path.join(" ")}\` takes ${page.arguments.length === 0 ? "no arguments" : page.arguments.map((argument) => argument.name).join(" ")}; '${positional[page.arguments.length]}' is one too many.`,
        next: helpFor(path)
      })
    )
  }
  // `--` keeps an argument that starts with a dash from being read as a flag.
  const tail = positional.length > 0 ? ["--", ...positional] : []
  return Either.right({ kind: "run", words: [...path.slice(1), ...flags, ...tail], page, path })
}

const splitFlag = (page: Page, word: string): readonly [FlagDoc, string | undefined] | undefined => {
  if (word.startsWith("--")) {
    const equals = word.indexOf("=")
    const name = equals < 0 ? word.slice(2) : word.slice(2, equals)
    const flag = page.flags.find((candidate) => candidate.name === name)
    return flag === undefined ? undefined : [flag, equals < 0 ? undefined : word.slice(equals + 1)]
  }
  const flag = page.flags.find((candidate) => candidate.alias === word[1])
  if (flag === undefined) return undefined
  const rest = word.slice(2)
  return [flag, rest === "" ? undefined : rest.startsWith("=") ? rest.slice(1) : rest]
}

const unknownCommand = (page: Page, path: ReadonlyArray<string>, word: string): UsageInvalid => {
  if (word.startsWith("-")) return unknownFlag(page, path, word)
  const names = page.children.map((child) => child.name)
  const near = nearestName(word, names)
  return new UsageInvalid({
    problem: `\`${path.join(" ")}\` has no command '${word}'.`,
    next:
      near === undefined
        ? `It has ${names.join(", ")}. ${helpFor(path)}`
        : `Did you mean \`${[...path, near].join(" ")}\`? ${helpFor(path)}`
  })
}

const unknownFlag = (page: Page, path: ReadonlyArray<string>, word: string): UsageInvalid => {
  const name = word.replace(/^-+/, "").replace(/=.*$/, "")
  const near = nearestName(
    name,
    page.flags.map((flag) => flag.name)
  )
  return new UsageInvalid({
    problem: `\`${path.join(" ")}\` has no flag ${word.replace(/=.*$/, "")}.`,
    next: near === undefined ? helpFor(path) : `Did you mean --${near}? ${helpFor(path)}`
  })
}
