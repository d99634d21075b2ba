// Reads a YAML text against a schema: the value, or every problem with its place, its key and its fix.
import { Either, Schema } from "effect"
import type { ConfigProblem } from "../../../schema/error/ConfigError.ts"
import { issueProblems } from "./issueProblems.ts"
import type { YamlDocument } from "./yamlDocument.ts"
import { parseYaml, pathText, yamlLimits } from "./yamlDocument.ts"

/** A text read against a schema; `value` is there where `problems` is empty. */
export interface YamlReading<A> {
  readonly value: A | undefined
  readonly problems: ReadonlyArray<ConfigProblem>
  /** For checks that go beyond the schema: where its keys and values stand. */
  readonly document: YamlDocument
}

/**
 * Reads `text`, which came from `file` (named in the problems, not opened). Unknown keys are problems, and all
 * problems are told at once, ordered by place. Bounds: see `yamlLimits`.
 */
export const readYaml = <A, I>(schema: Schema.Schema<A, I>, text: string, file: string): YamlReading<A> => {
  const document = parseYaml(text, file)
  if (document.value === undefined)
    return { value: undefined, problems: byPlace(document.problems), document }
  const decoded = Schema.decodeUnknownEither(schema, { errors: "all", onExcessProperty: "error" })(
    document.value
  )
  if (Either.isRight(decoded)) {
    const value = document.problems.length === 0 ? decoded.right : undefined
    return { value, problems: byPlace(document.problems), document }
  }
  const found = issueProblems(decoded.left.issue)
    .slice(0, yamlLimits.problemsMax)
    .map(
      (problem): ConfigProblem => ({
        file,
        ...document.locate(problem.path, problem.where),
        path: pathText(problem.path),
        message: problem.message,
        fix: problem.fix
      })
    )
  return { value: undefined, problems: byPlace([...document.problems, ...found]), document }
}

/** As `readYaml`, as a value or its problems. */
export const decodeYaml = <A, I>(
  schema: Schema.Schema<A, I>,
  text: string,
  file: string
): Either.Either<A, ReadonlyArray<ConfigProblem>> => {
  const { problems, value } = readYaml(schema, text, file)
  return problems.length === 0 ? Either.right(value as A) : Either.left(problems)
}

const byPlace = (problems: ReadonlyArray<ConfigProblem>): ReadonlyArray<ConfigProblem> =>
  [...problems].sort((a, b) => a.line - b.line || a.column - b.column)
