// What the documents name is there: links, files and folders; so that a moved file takes its words along.
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { describe, expect, it } from "vitest"

const root = new URL("..", import.meta.url).pathname
const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
const names = new Set(files.map((file) => file.slice(file.lastIndexOf("/") + 1)))
const documents = [
  "README.md",
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`)
]

/** `services/x.ts`, `schema/error/`: from the root, below src/, or a file's bare name. */
const isThere = (path: string): boolean =>
  existsSync(join(root, path)) ||
  existsSync(join(root, "src", path)) ||
  (!path.includes("/") && names.has(path))

describe.each(documents)("%s", (document) => {
  const text = readFileSync(join(root, document), "utf8")

  it("links to what is there", () => {
    const links = [...text.matchAll(/\]\(([^)#]+)(#[^)]*)?\)/g)].map((match) => match[1])
    const broken = links.filter(
      (link) => !/^https?:/.test(link) && !existsSync(join(root, normalize(join(dirname(document), link))))
    )
    expect(broken).toEqual([])
  })

  it("names files that are there", () => {
    const named = [
      ...text.matchAll(
        /`((?:[\w@.-]+\/)*[\w.-]+\.tsx?|(?:src|docs|deploy|test|schema|services|actors)\/[\w./-]*)`/g
      )
    ].map((match) => match[1])
    expect(named.filter((path) => !isThere(path))).toEqual([])
  })
})
