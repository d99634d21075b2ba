// Help as text: usage, what the command does, its flags with their defaults, examples, exit codes.
import type { ArgumentDoc, FlagDoc } from "./inputs.ts"
import { cellWidth, type Paint, padTo } from "./paint.ts"
import type { Page } from "./subcommand.ts"

/** Lines of at most `width` cells, broken between words. */
export const wrapText = (text: string, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && cellWidth(line) + 1 + cellWidth(word) > width) {
      lines.push(line)
      line = word
    } else {
      line = line === "" ? word : `${line} ${word}`
    }
  }
  if (line !== "") lines.push(line)
  return lines
}

const argumentUsage = (argument: ArgumentDoc): string => {
  const name = argument.repeated ? `${argument.name}…` : argument.name
  return argument.required ? name : `[${name}]`
}

const flagUsage = (flag: FlagDoc): string =>
  `${flag.alias === undefined ? "    " : `-${flag.alias}, `}--${flag.name}${flag.value === undefined ? "" : ` ${flag.value}`}`

const usageLine = (page: Page, path: ReadonlyArray<string>): string => {
  if (page.children.length > 0) return `${path.join(" ")} COMMAND [flags]`
  const required = page.flags.filter((flag) => flag.required).map((flag) => `--${flag.name} ${flag.value}`)
  const optional = page.flags.some((flag) => !flag.required) ? ["[flags]"] : []
  return [...path, ...page.arguments.map(argumentUsage), ...required, ...optional].join(" ")
}

const definitions = (
  entries: ReadonlyArray<readonly [term: string, about: string]>,
  width: number,
  paint: Paint
): string => {
  const widest = Math.min(34, Math.max(...entries.map(([term]) => cellWidth(term))))
  return entries
    .map(([term, about]) => {
      const lines = wrapText(about, Math.max(30, width - widest - 5))
      const lead = " ".repeat(widest + 5)
      const [first, ...rest] = cellWidth(term) > widest ? ["", ...lines] : lines
      return [
        `  ${paint.cyan(padTo(term, widest))}   ${first}`.trimEnd(),
        ...rest.map((line) => lead + line)
      ].join("\n")
    })
    .join("\n")
}

/** The help of one command, `width` cells wide. `footer` stands below the root's help only. */
export const renderHelp = (
  page: Page,
  path: ReadonlyArray<string>,
  options: { readonly width: number; readonly paint: Paint; readonly footer?: string }
): string => {
  const { width, paint } = options
  const head = (text: string) => paint.bold(text)
  const blocks: Array<string> = [
    wrapText(`${page.summary}.`, width).join("\n"),
    ...page.detail.map((paragraph) => wrapText(paragraph, width).join("\n")),
    `${head("Usage:")}\n  ${usageLine(page, path)}`
  ]
  if (page.children.length > 0) {
    blocks.push(
      `${head("Commands:")}\n${definitions(
        page.children.map((child) => [child.name, child.summary]),
        width,
        paint
      )}`
    )
  }
  if (page.arguments.length > 0) {
    blocks.push(
      `${head("Arguments:")}\n${definitions(
        page.arguments.map((argument) => [argumentUsage(argument), argument.about]),
        width,
        paint
      )}`
    )
  }
  if (page.flags.length > 0) {
    blocks.push(
      `${head("Flags:")}\n${definitions(
        page.flags.map((flag) => [
          flagUsage(flag),
          flag.about +
            (flag.required ? " (required)" : flag.fallback === undefined ? "" : ` (default ${flag.fallback})`)
        ]),
        width,
        paint
      )}`
    )
  }
  if (page.examples.length > 0) {
    blocks.push(
      `${head("Examples:")}\n${page.examples
        .map(([line, about]) => `  ${paint.dim(`# ${about}`)}\n  ${path[0]} ${line}`)
        .join("\n")}`
    )
  }
  if (options.footer !== undefined) blocks.push(options.footer)
  if (page.children.length > 0) blocks.push(`\`${path.join(" ")} COMMAND --help\` says more of a command.`)
  return blocks.join("\n\n")
}
