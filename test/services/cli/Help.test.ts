import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { helpFooter, rootPage } from "../../../src/services/cli/Cli.ts"
import { renderHelp } from "../../../src/services/cli/helpText.ts"
import { cellWidth, paintFor } from "../../../src/services/cli/paint.ts"
import type { Page } from "../../../src/services/cli/subcommand.ts"
import { runWords } from "./commandHarness.ts"

const docs = new URL("../../../docs/cli.md", import.meta.url).pathname

interface Placed {
  readonly page: Page
  readonly path: ReadonlyArray<string>
}

const all = (page: Page, path: ReadonlyArray<string>): ReadonlyArray<Placed> => [
  { page, path },
  ...page.children.flatMap((child) => all(child, [...path, child.name]))
]
const pages = all(rootPage, [rootPage.name])

const help = ({ page, path }: Placed, width: number) =>
  renderHelp(page, path, {
    width,
    paint: paintFor(false),
    ...(path.length === 1 ? { footer: helpFooter } : {})
  })

describe("help", () => {
  it("is what docs/cli.md says, word for word", async () => {
    const intro = `# The command line

Every command with its flags, as \`groundstate COMMAND --help\` prints it. Data goes to stdout, talk (progress, notices,
errors) to stderr; colour only to terminals and not with \`NO_COLOR\`. Every error says what to do next.
`
    const sections = pages.map(
      (placed) => `## ${placed.path.join(" ")}\n\n\`\`\`text\n${help(placed, 100)}\n\`\`\`\n`
    )
    await expect([intro, ...sections].join("\n")).toMatchFileSnapshot(docs)
  })

  it("has the fixed forms that tools outside rely on", () => {
    const flags = (name: string) =>
      pages
        .find(({ path }) => path.join(" ") === name)
        ?.page.flags.map((flag) => `${flag.required ? "!" : ""}${flag.name}`) ?? []
    expect(flags("groundstate demo")).toEqual(
      expect.arrayContaining(["duration", "seed", "devices", "rate", "output"])
    )
    expect(flags("groundstate train")).toEqual(
      expect.arrayContaining(["input", "stream", "!output", "seed", "label"])
    )
    expect(flags("groundstate score")).toEqual(expect.arrayContaining(["!model", "!input", "!output"]))
    expect(flags("groundstate evaluate")).toEqual(
      expect.arrayContaining(["!model", "!input", "!label", "output"])
    )
    expect(flags("groundstate run")).toContain("config")
  })

  it.each(pages.map((placed) => [placed.path.join(" "), placed] as const))("of %s is whole", (_, placed) => {
    const { page } = placed
    expect(page.summary).toMatch(/^[A-Z].*[^.]$/)
    for (const flag of page.flags) expect(flag.about).toMatch(/[^.]$/)
    const names = page.flags.map((flag) => flag.name)
    expect(new Set(names).size).toBe(names.length)
    for (const [line] of page.examples) {
      // Every example names a command that is there.
      const words = line.split(" ")
      expect(
        pages.some(
          ({ path }) =>
            path.slice(1).join(" ") === words.slice(0, path.length - 1).join(" ") && path.length > 1
        )
      ).toBe(true)
    }
    const text = help(placed, 80)
    const prose = text.split("\n").filter((line) => !line.startsWith("  "))
    expect(Math.max(...prose.map(cellWidth))).toBeLessThanOrEqual(80)
  })

  it("goes to stdout when it was asked for, to stderr when a verb is missing", async () => {
    const asked = await Effect.runPromise(runWords(["help", "devices"]))
    const missing = await Effect.runPromise(runWords(["devices"]))
    expect([asked.code, asked.err, missing.code, missing.out]).toEqual([0, "", 2, ""])
    expect(missing.err).toBe(asked.out)
    expect((await Effect.runPromise(runWords(["--version"]))).out).toMatch(/^groundstate \d+\.\d+\.\d+\n$/)
  })
})
