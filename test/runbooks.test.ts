// Every error that an operator can meet has a page that says what to do, and no page is left behind.
import { readdirSync, readFileSync } from "node:fs"
import ts from "typescript"
import { expect, it } from "vitest"
import { readSources, type Source, walk } from "./support/tidy/source.ts"

const root = new URL("..", import.meta.url).pathname
const folder = `${root}deploy/runbooks`
const headings = ["## What it means", "## What the system did", "## What to look at", "## What to do"]

/** Tags of the classes that extend `Schema.TaggedError<…>()("Tag", …)`. */
const tagsOf = (source: Source): ReadonlyArray<string> => {
  const tags: Array<string> = []
  walk(source.tree, (node) => {
    if (!ts.isCallExpression(node) || !ts.isCallExpression(node.expression)) return
    if (node.expression.expression.getText() !== "Schema.TaggedError") return
    const [tag] = node.arguments
    if (tag !== undefined && ts.isStringLiteralLike(tag)) tags.push(tag.text)
  })
  return tags
}

const tags = [...readSources(root, "src/schema/error"), ...readSources(root, "src/schema/protocol")].flatMap(
  tagsOf
)
const pages = readdirSync(folder).map((name) => name.replace(/\.md$/, ""))

it("finds the errors", () => {
  expect(tags).toContain("Fenced")
  expect(tags).toContain("CellUnavailable")
})

it("has a page for every error, and an error for every page", () => {
  expect(tags.filter((tag) => !pages.includes(tag))).toEqual([])
  expect(pages.filter((page) => !tags.includes(page))).toEqual([])
})

it.each(pages)("says what %s means, what happened, what to look at and what to do", (page) => {
  const text = readFileSync(`${folder}/${page}.md`, "utf8")
  expect(text.startsWith(`# ${page}\n`)).toBe(true)
  const places = headings.map((heading) => text.indexOf(heading))
  expect(places.every((place, i) => place > (places[i - 1] ?? 0))).toBe(true)
})
