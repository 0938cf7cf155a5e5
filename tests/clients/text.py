"""The text that every client must get, to the character."""

from __future__ import annotations

TEXT = (
    "Plain words, \"straight\" and 'single' quotes, “curly” and «pointed» ones.\n"
    "\tA tab, a back\\slash, two \\\\ of them, a path C:\\new\\table, {braces: [1, 2.50, null]}.\r\n"
    "中文：你好，世界。日本語のテキスト、かな交じり。한국어 문장입니다. 𠮷野家 𝔘𝔫𝔦𝔠𝔬𝔡𝔢\n"
    "العربية من اليمين إلى اليسار، و עברית, mixed with English and ١٢٣.\n"
    "Emoji: 🙂 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇪🇺 ❤️ with joiners, a skin tone, a flag, a variation selector.\n"
    "Combining: e\u0301 a\u0308\u0323 n\u0303 Z\u0351\u036b\u0343, not \u00e9 and \u00f1. हिन्दी क्षि\n"
    "ไทย ที่นี่\n"
    "Zero width\u200b space, soft\u00adhyphen, no-break\u00a0space, a BOM \ufeff within.\n"
    "Control characters: DEL \x7f, ESC \x1b[0m, bell \x07, form feed \x0c.\n"
    "The wire's own words are only text here:\n\n"
    'data: [DONE]\n\nevent: error\ndata: {"choices":[]}\nid: 1\n: comment\n\n'
    "</script><!-- & &amp; <b> --> `code` ```fence``` %s {0} ${x} %41 \\u0041 \\n\n"
    "  Blanks before, blanks after  \n"
)
"""Raw UTF-8 of many kinds, but without U+0085, U+2028 and U+2029: httpx's `iter_lines` takes those for ends
of lines inside the JSON, so with them it is the client that loses text."""
