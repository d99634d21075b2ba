// What is shipped may be shipped: licences of production dependencies, and a lock file that names no registry.
import { existsSync, readFileSync } from "node:fs"
import { expect, it } from "vitest"

interface Locked {
  readonly version?: string
  readonly license?: string
  readonly dev?: boolean
  readonly resolved?: string
  readonly integrity?: string
  readonly link?: boolean
  readonly optional?: boolean
}

const root = new URL("..", import.meta.url).pathname
const read = (path: string): unknown => JSON.parse(readFileSync(`${root}${path}`, "utf8"))
const lock = read("package-lock.json") as { readonly packages: Readonly<Record<string, Locked>> }
const packages = Object.entries(lock.packages).filter(([path]) => path !== "")

/** Licences that ask for no more than to be named. */
const allowed = new Set([
  "0BSD",
  "Apache-2.0",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "CC0-1.0",
  "ISC",
  "MIT",
  "MIT-0",
  "Python-2.0",
  "Unlicense",
  "Zlib"
])

/** Is an SPDX expression of names, AND, OR and parentheses satisfied by the allowed licences alone? */
const satisfies = (expression: string): boolean => {
  const words = expression.match(/[()]|[^\s()]+/g) ?? []
  let at = 0
  const single = (): boolean => {
    const word = words[at++]
    if (word !== "(") return word !== undefined && allowed.has(word)
    const inside = either()
    return words[at++] === ")" && inside
  }
  const both = (): boolean => {
    let holds = single()
    while (words[at] === "AND") {
      at++
      holds = single() && holds
    }
    return holds
  }
  const either = (): boolean => {
    let holds = both()
    while (words[at] === "OR") {
      at++
      holds = both() || holds
    }
    return holds
  }
  const holds = either()
  return holds && at === words.length
}

/** The licence that the installed package itself names; undefined where it is not installed here (another platform). */
const installed = (path: string): string | undefined => {
  if (!existsSync(`${root}${path}/package.json`)) return undefined
  const own = read(`${path}/package.json`) as { readonly license?: string }
  return typeof own.license === "string" ? own.license : undefined
}

it("reads licence expressions", () => {
  expect(satisfies("MIT")).toBe(true)
  expect(satisfies("(Apache-2.0 AND BSD-3-Clause)")).toBe(true)
  expect(satisfies("GPL-3.0-only OR MIT")).toBe(true)
  expect(satisfies("GPL-3.0-only")).toBe(false)
  expect(satisfies("MIT AND GPL-3.0-only")).toBe(false)
  expect(satisfies("SEE LICENSE IN LICENSE")).toBe(false)
  expect(satisfies("")).toBe(false)
})

/**
 * A platform's own build of a package that is locked with its other builds. A mirror that holds one platform
 * leaves the others out; `npm ci` wants their names all the same, and fetches none of them there.
 */
const isElsewhere = (path: string, one: Locked): boolean => {
  if (one.optional !== true || one.integrity !== undefined) return false
  const scope = path.slice(0, path.lastIndexOf("/"))
  return packages.some(
    ([other, sibling]) =>
      other !== path &&
      other.startsWith(`${scope}/`) &&
      sibling.version === one.version &&
      sibling.integrity !== undefined
  )
}

it("ships only what may be shipped", () => {
  const shipped = packages.filter(
    ([path, one]) => one.dev !== true && one.link !== true && !isElsewhere(path, one)
  )
  expect(shipped.length).toBeGreaterThan(20)
  const refused = shipped
    .map(([path, one]) => `${path} ${one.version}: ${one.license ?? installed(path) ?? "no licence named"}`)
    .filter((line) => !satisfies(line.slice(line.indexOf(": ") + 2)))
  expect(refused).toEqual([])
})

it("finds in the installed packages what the lock file says of them", () => {
  const differing = packages.flatMap(([path, one]) => {
    const own = installed(path)
    return own === undefined || one.license === undefined || own === one.license
      ? []
      : [`${path}: ${one.license}, ${own}`]
  })
  expect(differing).toEqual([])
})

it("locks every package by its digest and names no registry", () => {
  expect(packages.filter(([, one]) => one.resolved !== undefined).map(([path]) => path)).toEqual([])
  expect(
    packages
      .filter(
        ([path, one]) => one.link !== true && !one.integrity?.startsWith("sha512-") && !isElsewhere(path, one)
      )
      .map(([path]) => path)
  ).toEqual([])
})

it("is itself under the Apache License 2.0", () => {
  expect((read("package.json") as { readonly license: string }).license).toBe("Apache-2.0")
  const text = readFileSync(`${root}LICENSE`, "utf8")
  expect(text).toContain("Apache License")
  expect(text).toContain("END OF TERMS AND CONDITIONS")
})
