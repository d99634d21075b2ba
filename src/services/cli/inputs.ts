// Flags and arguments of a subcommand: how each is parsed, and what the help says of it.
import { Args, HelpDoc, Options, ValidationError } from "@effect/cli"
import { Effect, Either, Option } from "effect"

export interface FlagDoc {
  readonly kind: "flag"
  readonly name: string
  readonly alias: string | undefined
  /** What stands for the value in the help (`URL`, `table|json|yaml`); undefined where the flag takes none. */
  readonly value: string | undefined
  readonly about: string
  readonly fallback: string | undefined
  readonly required: boolean
  /** The words it takes; undefined where it takes any. */
  readonly choices: ReadonlyArray<string> | undefined
}

export interface ArgumentDoc {
  readonly kind: "argument"
  readonly name: string
  readonly about: string
  readonly required: boolean
  readonly repeated: boolean
}

/** One flag or argument whose parsed value is an `A`. */
export interface Input<A> {
  readonly parser: Options.Options<A> | Args.Args<A>
  readonly doc: FlagDoc | ArgumentDoc
  /** Further flags that the value is made of. */
  readonly more?: ReadonlyArray<FlagDoc>
}

interface FlagWords {
  readonly alias?: string
  readonly value: string
  readonly about: string
}

/** Text to a value, or the sentence that says what would have been right. */
export type Parse<A> = (text: string) => Either.Either<A, string>

const invalid = (text: string) => ValidationError.invalidValue(HelpDoc.p(text))

const textOption = (name: string, words: FlagWords): Options.Options<string> => {
  const option = Options.text(name).pipe(
    Options.withDescription(words.about),
    Options.withPseudoName(words.value)
  )
  return words.alias === undefined ? option : Options.withAlias(option, words.alias)
}

const parsedOption = <A>(name: string, words: FlagWords, parse: Parse<A>): Options.Options<A> =>
  Options.mapEffect(textOption(name, words), (text) =>
    Either.match(parse(text), {
      onLeft: (wanted) => Effect.fail(invalid(`--${name} ${wanted}; '${text}' was given.`)),
      onRight: (value) => Effect.succeed(value)
    })
  )

const flagDoc = (
  name: string,
  words: { readonly alias?: string; readonly value?: string; readonly about: string },
  more: { readonly fallback?: string; readonly required?: boolean; readonly choices?: ReadonlyArray<string> }
): FlagDoc => ({
  kind: "flag",
  name,
  alias: words.alias,
  value: words.value,
  about: words.about,
  fallback: more.fallback,
  required: more.required ?? false,
  choices: more.choices
})

/** A flag that must be given. */
export const requiredFlag = <A = string>(
  name: string,
  words: FlagWords,
  parse: Parse<A> = anyText as Parse<A>
): Input<NoInfer<A>> => ({
  parser: parsedOption(name, words, parse),
  doc: flagDoc(name, words, { required: true })
})

/** A flag that may be left out; then the value is undefined. */
export const optionalFlag = <A = string>(
  name: string,
  words: FlagWords,
  parse: Parse<A> = anyText as Parse<A>
): Input<NoInfer<A> | undefined> => ({
  parser: Options.optional(parsedOption(name, words, parse)).pipe(Options.map(Option.getOrUndefined)),
  doc: flagDoc(name, words, {})
})

/** A flag with a value of its own when it is left out; `fallback` is parsed like any other text. */
export const defaultFlag = <A = string>(
  name: string,
  words: FlagWords & { readonly fallback: string },
  parse: Parse<A> = anyText as Parse<A>
): Input<NoInfer<A>> => ({
  parser: parsedOption(name, words, parse).pipe(
    Options.withDefault(Either.getOrThrow(parse(words.fallback)))
  ),
  doc: flagDoc(name, words, { fallback: words.fallback })
})

/** A flag that takes one of a few words. */
export const choiceFlag = <const A extends string>(
  name: string,
  words: {
    readonly alias?: string
    readonly about: string
    readonly choices: ReadonlyArray<A>
    readonly fallback: A
  }
): Input<NoInfer<A>> => {
  const option = Options.choice<A, ReadonlyArray<A>>(name, words.choices).pipe(
    Options.withDescription(words.about)
  )
  const named = words.alias === undefined ? option : Options.withAlias(option, words.alias)
  return {
    parser: Options.withDefault(named, words.fallback),
    doc: flagDoc(
      name,
      { ...words, value: words.choices.join("|") },
      { fallback: words.fallback, choices: words.choices }
    )
  }
}

/** A flag that takes one of a few words, or is left out. */
export const optionalChoiceFlag = <const A extends string>(
  name: string,
  words: { readonly about: string; readonly choices: ReadonlyArray<A> }
): Input<NoInfer<A> | undefined> => ({
  parser: Options.choice<A, ReadonlyArray<A>>(name, words.choices).pipe(
    Options.withDescription(words.about),
    Options.optional,
    Options.map(Option.getOrUndefined)
  ),
  doc: flagDoc(name, { ...words, value: words.choices.join("|") }, { choices: words.choices })
})

/** Two flags that say one thing. */
export const joinedFlags = <A, B, C>(
  first: Input<A>,
  second: Input<B>,
  join: (a: A, b: B) => C
): Input<C> => ({
  parser: Options.all([first.parser as Options.Options<A>, second.parser as Options.Options<B>]).pipe(
    Options.map(([a, b]) => join(a, b))
  ),
  doc: first.doc,
  more: [second.doc as FlagDoc]
})

/** A flag without a value. */
export const switchFlag = (name: string, about: string): Input<boolean> => ({
  parser: Options.boolean(name).pipe(Options.withDescription(about)),
  doc: flagDoc(name, { about }, {})
})

/** An argument that must be given. */
export const requiredArgument = (name: string, about: string): Input<string> => ({
  parser: Args.text({ name }).pipe(Args.withDescription(about)),
  doc: { kind: "argument", name, about, required: true, repeated: false }
})

/** An argument that may be left out. */
export const optionalArgument = (name: string, about: string): Input<string | undefined> => ({
  parser: Args.text({ name }).pipe(
    Args.withDescription(about),
    Args.optional,
    Args.map(Option.getOrUndefined)
  ),
  doc: { kind: "argument", name, about, required: false, repeated: false }
})

/** Any number of arguments, at least `least`. */
export const repeatedArgument = (
  name: string,
  about: string,
  least: number
): Input<ReadonlyArray<string>> => ({
  parser: Args.text({ name }).pipe(Args.withDescription(about), Args.atLeast(least)),
  doc: { kind: "argument", name, about, required: least > 0, repeated: true }
})

const anyText: Parse<string> = (text) =>
  text === "" ? Either.left("wants a value that is not empty") : Either.right(text)

/** A whole number within bounds. */
export const wholeNumber =
  (least: number, most: number): Parse<number> =>
  (text) => {
    const value = Number(text)
    return /^-?\d+$/.test(text) && value >= least && value <= most
      ? Either.right(value)
      : Either.left(`wants a whole number from ${least} to ${most}`)
  }

/** A number within bounds. */
export const numberBetween =
  (least: number, most: number): Parse<number> =>
  (text) => {
    const value = Number(text)
    return text.trim() !== "" && Number.isFinite(value) && value >= least && value <= most
      ? Either.right(value)
      : Either.left(`wants a number from ${least} to ${most}`)
  }

const unitMillis: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `20s`, `5m`, `1.5h`: milliseconds, at least one. */
export const durationMillis: Parse<number> = (text) => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  const millis = match === null ? 0 : Math.round(Number(match[1]) * unitMillis[match[2]])
  return millis >= 1 && Number.isSafeInteger(millis)
    ? Either.right(millis)
    : Either.left("wants a number and one of ms, s, m, h, d, for example 20s or 5m")
}
