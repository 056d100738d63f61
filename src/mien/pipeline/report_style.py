"""How the report on clips looks: on a wide screen, a phone and paper, light and dark."""

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1a1a1a; --soft: #666666; --line: #dddddd; --card: #f5f5f5;
  --trouble: #a02c00; --link: #0060a0 }
@media (prefers-color-scheme: dark) { :root { --page: #161616; --ink: #e6e6e6; --soft: #a0a0a0; --line: #3a3a3a;
  --card: #222222; --trouble: #ff9a6b; --link: #7cc4f4 } }
* { box-sizing: border-box }
body { background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto;
  padding: 1rem 1.2rem 4rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 0 0 .3rem; overflow-wrap: anywhere }
h3 { font-size: 1.05rem; margin: 2rem 0 .5rem }
p { margin: .5rem 0 }
a { color: var(--link) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0 0 1.5rem }
dt, .soft, small { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
.path { font-size: .85rem; overflow-wrap: anywhere; margin: 0 0 .8rem }
nav ol { margin: .3rem 0 1.5rem; padding-left: 1.6rem; overflow-wrap: anywhere }
aside { background: var(--card); border-radius: .5rem; padding: .9rem 1.1rem; font-size: .92rem }
aside h2 { font-size: 1rem }
section { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1.5rem }
.trouble { color: var(--trouble); font-weight: 600; overflow-wrap: anywhere }
.scroll { overflow-x: auto; margin: .6rem 0 }
img.page { display: block; width: 100%; min-width: 42rem; background: #ffffff; border-radius: .5rem }
img.face { display: block; width: 3.4rem; height: 3.4rem; border-radius: .3rem }
i { display: inline-block; width: .8em; height: .8em; border-radius: .15em; margin-right: .35em; vertical-align: -.05em }
.class { white-space: nowrap }
.bar { display: flex; height: .9rem; border-radius: .25rem; overflow: hidden; margin: .4rem 0 1rem }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap }
th { color: var(--soft); font-weight: 500 }
@media print {
  :root { color-scheme: light; --page: #ffffff; --ink: #000000; --soft: #555555; --line: #bbbbbb; --card: #f5f5f5;
    --trouble: #a02c00; --link: #000000 }
  body { font-size: 10pt; max-width: none; padding: 0 }
  section { break-before: page; border: 0; margin: 0 }
  img.page { min-width: 0 }
  h3, img, tr, .class, .bar { break-inside: avoid }
  h3 { break-after: avoid }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact }
}
"""
