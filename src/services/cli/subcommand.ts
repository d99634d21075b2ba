// One subcommand: its parser for @effect/cli and the page of help that belongs to it, from one declaration.
import { Command } from "@effect/cli"
import type { Effect } from "effect"
import type { ArgumentDoc, FlagDoc, Input } from "./inputs.ts"

/** What the help says of a command; `children` are its subcommands. */
export interface Page {
  readonly name: string
  /** One line, without a full stop. */
  readonly summary: string
  /** Paragraphs for the command's own help. */
  readonly detail: ReadonlyArray<string>
  /** A command line after `groundstate`, and what it does. */
  readonly examples: ReadonlyArray<readonly [line: string, about: string]>
  readonly flags: ReadonlyArray<FlagDoc>
  readonly arguments: ReadonlyArray<ArgumentDoc>
  readonly children: ReadonlyArray<Page>
}

export interface Subcommand<R, E> {
  readonly command: Command.Command<string, R, E, unknown>
  readonly page: Page
}

type Values<Inputs> = { readonly [K in keyof Inputs]: Inputs[K] extends Input<infer A> ? A : never }

interface Words {
  readonly name: string
  readonly summary: string
  readonly detail?: ReadonlyArray<string>
  readonly examples?: ReadonlyArray<readonly [line: string, about: string]>
}

/** A command that does something: `run` gets the parsed inputs by name. */
export const subcommand = <const Inputs extends Record<string, Input<unknown>>, R, E>(
  spec: Words & {
    readonly inputs: Inputs
    readonly run: (values: Values<Inputs>) => Effect.Effect<void, E, R>
  }
): Subcommand<R, E> => {
  const parsers = Object.fromEntries(Object.entries(spec.inputs).map(([key, input]) => [key, input.parser]))
  const docs = Object.values(spec.inputs).flatMap((input) => [input.doc, ...(input.more ?? [])])
  const command = Command.make(spec.name, parsers, (values) => spec.run(values as Values<Inputs>)).pipe(
    Command.withDescription(spec.summary)
  )
  return {
    command: command as Command.Command<string, R, E, unknown>,
    page: {
      name: spec.name,
      summary: spec.summary,
      detail: spec.detail ?? [],
      examples: spec.examples ?? [],
      flags: docs.filter((doc) => doc.kind === "flag"),
      arguments: docs.filter((doc) => doc.kind === "argument"),
      children: []
    }
  }
}

type Some = Subcommand<unknown, unknown>
type RequirementsOf<Child> = Child extends Subcommand<infer R, unknown> ? R : never
type ErrorsOf<Child> = Child extends Subcommand<unknown, infer E> ? E : never

/** A command that only holds others: `devices` of `devices get`. */
export const group = <const Children extends readonly [Some, ...ReadonlyArray<Some>]>(
  spec: Words & { readonly children: Children }
): Subcommand<RequirementsOf<Children[number]>, ErrorsOf<Children[number]>> => {
  const [first, ...rest] = spec.children.map((child) => child.command)
  const command = Command.make(spec.name).pipe(
    Command.withDescription(spec.summary),
    Command.withSubcommands([first, ...rest])
  )
  return {
    command: command as unknown as Subcommand<
      RequirementsOf<Children[number]>,
      ErrorsOf<Children[number]>
    >["command"],
    page: {
      name: spec.name,
      summary: spec.summary,
      detail: spec.detail ?? [],
      examples: spec.examples ?? [],
      flags: [],
      arguments: [],
      children: spec.children.map((child) => child.page)
    }
  }
}
