// Emits JavaScript for src/, bench/ and chaos/ into dist/; types are checked by `npm run typecheck`, not here.
// dist/ mirrors the tree below src/ (dist/main.js) and keeps bench/ and chaos/ beside it (dist/bench/, dist/chaos/).
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = join(dirname(fileURLToPath(import.meta.url)), "..")
const out = join(root, "dist")

const walk = (dir) =>
  existsSync(dir)
    ? readdirSync(dir, { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory()
          ? walk(join(dir, entry.name))
          : entry.name.endsWith(".ts")
            ? [join(dir, entry.name)]
            : []
      )
    : []

const sources = [
  ...walk(join(root, "src")).map((file) => [file, join(out, relative(join(root, "src"), file))]),
  // Benches and chaos start the same broker, database and runners that tests do; the simulation is also a program of its own.
  ...[
    ...walk(join(root, "bench")),
    ...walk(join(root, "chaos")),
    ...walk(join(root, "test", "support")),
    ...walk(join(root, "test", "simulation")).filter((file) => !file.endsWith(".test.ts"))
  ].map((file) => [file, join(out, relative(root, file))])
]

const compilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
  sourceMap: false,
  inlineSourceMap: false
}

// bench/, chaos/ and test/ sit beside src/ in the repository and below it in dist/, so "../src/x.ts" becomes "../x.js".
const rewrite = (code, beside) =>
  code.replace(
    /((?:from|import)\s*\(?\s*["'])(\.{1,2}\/[^"']+?)\.ts(["'])/g,
    (_, head, path, tail) => `${head}${beside ? path.replace(/^((?:\.\.\/)+)src\//, "$1") : path}.js${tail}`
  )

const stampFile = join(root, ".cache", "build.json")
const before = existsSync(stampFile) ? JSON.parse(readFileSync(stampFile, "utf8")) : {}
const stamps = {}
let emitted = 0
for (const [file, target] of sources) {
  const js = target.replace(/\.ts$/, ".js")
  const text = readFileSync(file, "utf8")
  const key = relative(root, file)
  stamps[key] = createHash("sha256").update(text).digest("hex")
  if (before[key] === stamps[key] && existsSync(js)) continue
  const result = ts.transpileModule(text, { compilerOptions, fileName: file })
  mkdirSync(dirname(js), { recursive: true })
  writeFileSync(js, rewrite(result.outputText, !key.startsWith("src")))
  emitted++
}
for (const key of Object.keys(before)) {
  if (key in stamps) continue
  const stale = !key.startsWith("src") ? join(out, key) : join(out, relative("src", key))
  rmSync(stale.replace(/\.ts$/, ".js"), { force: true })
}
mkdirSync(dirname(stampFile), { recursive: true })
writeFileSync(stampFile, JSON.stringify(stamps))
if (process.argv.includes("--verbose")) console.error(`built ${emitted} of ${sources.length} files`)
