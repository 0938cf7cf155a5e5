"""Replies in other scripts: Chinese, Japanese, Korean; Arabic and Hebrew with Latin words and digits inside.

Each language is a set of tables and templates that fit each other. Korean stems end before the ending that a
template adds, and the particles in its templates are those that do not depend on the sound before them.
Arabic actions are verbal nouns, which need no agreement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mockprovider.filler.grammar import Deck, Voice

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

__all__ = ["CJK", "RTL", "Language", "pieces"]


class Language(NamedTuple):
    """Tables and templates of one language, and what stands between two sentences of a paragraph."""

    name: str
    between: str
    tables: dict[str, tuple[str, ...]]
    openings: tuple[str, ...]
    body: tuple[str, ...]


_CHINESE = Language(
    "Chinese",
    "",
    {
        "ACT": (
            "检查配置文件",
            "运行全部测试",
            "备份数据库",
            "更新依赖版本",
            "记录每次请求的耗时",
            "缩短缓存时间",
            "拆分过长的函数",
            "增加重试次数",
            "阅读错误日志",
            "清理临时文件",
        ),
        "PART": ("缓存策略", "接口文档", "错误日志", "网络延迟", "数据格式", "权限设置", "测试范围"),
        "BAD": ("响应变慢", "内存不足", "连接中断", "数据丢失", "结果不一致", "测试失败"),
        "GOOD": ("页面加载更快", "错误明显减少", "系统更加稳定", "维护成本降低", "用户不再抱怨"),
        "N": ("5", "10", "15", "20", "30", "两", "十"),
        "P": ("20", "35", "50", "70", "80"),
    },
    (
        "这是一个很好的问题！",
        "下面我来简单说明一下{PART}。",
        "好的，我们一步一步来看。",
        "简单来说，您可以先{ACT}。",
        "关于{PART}，有几点需要说明。",
    ),
    (
        "如果出现{BAD}的情况，建议先{ACT}。",
        "在大多数情况下，{PART}比{PART}更重要。",
        "您可以先{ACT}，然后再{ACT}。",
        "完成这一步之后，您会发现{GOOD}。",
        "需要注意的是，{PART}会影响最终的结果。",
        "一般只需要{N}分钟就可以{ACT}。",
        "请不要忽略{PART}，否则可能会出现{BAD}的问题。",
        "根据经验，大约{P}%的问题与{PART}有关。",
        "第一步是{ACT}，第二步是{ACT}。",
        "出现{BAD}的时候，最常见的原因是{PART}有问题。",
        "总的来说，{ACT}是一个不错的开始。",
        "这样做的好处是{GOOD}，而且{GOOD}。",
        "除了{PART}以外，{PART}也值得关注。",
        "我建议每周{ACT}一次，每月再看一看{PART}。",
        "修改之前，最好先{ACT}；修改之后，再比较一下结果。",
        "所谓“{PART}”，其实并不复杂。",
    ),
)

_JAPANESE = Language(
    "Japanese",
    "",
    {
        "ACT": (
            "設定ファイルを確認する",
            "テストをすべて実行する",
            "データベースをバックアップする",
            "ログを記録する",
            "依存関係を更新する",
            "キャッシュの期限を短くする",
            "関数を小さく分ける",
            "再試行の回数を増やす",
            "不要なファイルを消す",
        ),
        "PART": (
            "キャッシュの設定",
            "エラーログ",
            "通信の遅延",
            "データの形式",
            "権限の管理",
            "テストの範囲",
            "サーバーの時計",
        ),
        "BAD": ("応答が遅い", "メモリが足りない", "接続が切れる", "結果が一致しない", "テストが時々失敗する"),
        "GOOD": ("ページが速く表示される", "エラーが減る", "システムが安定する", "保守が楽になる"),
        "N": ("5", "10", "15", "20", "30", "４５"),
        "P": ("20", "35", "50", "70", "80"),
        "WHO": ("田中", "\U00020bb7田", "髙橋", "山﨑", "渡邉"),  # the second has a character beyond U+FFFF
    },
    (
        "ご質問ありがとうございます。",
        "はい、順番に説明します。",
        "{PART}について、簡単にまとめます。",
        "結論から言うと、まず{ACT}ことが大切です。",
    ),
    (
        "{BAD}場合は、まず{ACT}ことをお勧めします。",
        "多くの場合、{PART}は{PART}よりも重要です。",
        "最初に{ACT}と、{GOOD}ようになります。",
        "{ACT}には、{N}分ほどかかります。",
        "問題の約{P}%は、{PART}に関係しています。",
        "{ACT}前に、{PART}を見直してください。",
        "{PART}を変えるだけで、{GOOD}ことがあります。",
        "{WHO}さんのチームでは、毎週{ACT}ことにしています。",
        "次に、{ACT}必要があるかどうかを考えましょう。",
        "「{PART}」という言葉は難しく聞こえますが、考え方は簡単です。",
        "もし{BAD}なら、{PART}を疑ってみてください。",
        "{PART}と{PART}を同時に変えないほうがよいでしょう。",
        "時間がないときは、{ACT}だけでも十分です！",
        "その結果、{GOOD}はずです。",
    ),
)

_KOREAN = Language(
    "Korean",
    " ",
    {
        "ACT": (
            "설정 파일을 확인하",
            "모든 테스트를 실행하",
            "데이터베이스를 백업하",
            "로그를 기록하",
            "의존성을 업데이트하",
            "캐시 시간을 조정하",
            "긴 함수를 정리하",
            "불필요한 파일을 삭제하",
        ),
        "PART": ("캐시 설정", "오류 로그", "네트워크 지연", "데이터 형식", "권한 관리", "테스트 범위"),
        "BAD": ("응답이 느리", "메모리가 부족하", "연결이 끊기", "결과가 서로 다르", "테스트가 가끔 실패하"),
        "GOOD": (
            "페이지가 더 빨리 열립니다",
            "오류가 줄어듭니다",
            "시스템이 안정됩니다",
            "관리가 쉬워집니다",
        ),
        "N": ("5", "10", "15", "20", "30"),
        "P": ("20", "35", "50", "70", "80"),
    },
    (
        "좋은 질문입니다!",
        "네, 하나씩 살펴보겠습니다.",
        "{PART}에 대해 간단히 설명해 드리겠습니다.",
        "먼저 결론부터 말씀드리면, {ACT}는 것이 가장 좋습니다.",
    ),
    (
        "{BAD}면 먼저 {ACT}세요.",
        "{ACT}면 {GOOD}.",
        "{ACT}기 전에 {PART}부터 살펴보세요.",
        "대부분의 경우 {PART}보다 {PART}에 문제가 있습니다.",
        "{ACT}는 데 보통 {N}분 정도 걸립니다.",
        "문제의 약 {P}퍼센트는 {PART}에서 시작됩니다.",
        "{BAD}거나 {BAD}면 {PART}도 함께 확인하세요.",
        "시간이 없다면 {ACT}기만 해도 충분합니다.",
        "일주일에 한 번 {ACT}는 것이 좋습니다.",
        "그다음에는 {ACT}고 결과를 비교해 보세요.",
        "‘{PART}’ 이야기는 어렵게 들리지만 생각보다 간단합니다.",
        "이렇게 하면 {GOOD}.",
    ),
)

_LATIN = ("Python 3.12", "Docker", "PostgreSQL", "curl", "Redis", "GitHub Actions", "SQLite", "nginx 1.27")

_ARABIC = Language(
    "Arabic",
    " ",
    {
        "ACT": (
            "مراجعة ملف الإعدادات",
            "تشغيل جميع الاختبارات",
            "حفظ نسخة احتياطية من البيانات",
            "تحديث المكتبات القديمة",
            "تسجيل زمن كل طلب",
            "تقليل مدة التخزين المؤقت",
            "تقسيم الدوال الطويلة",
            "فحص استجابة API",
            "تحويل البيانات إلى JSON",
        ),
        "PART": (
            "سجل الأخطاء",
            "سرعة الشبكة",
            "حجم الذاكرة",
            "صلاحيات المستخدم",
            "بنية البيانات",
            "واجهة API",
        ),
        "BAD": ("تأخرت الاستجابة", "انقطع الاتصال", "امتلأت الذاكرة", "فشل أحد الاختبارات", "اختلفت النتائج"),
        "GOOD": ("تصبح الصفحات أسرع", "تقل الأخطاء", "يستقر النظام", "تنخفض التكلفة"),
        "LATIN": _LATIN,
        "N": ("15", "20", "30", "45", "٢٥", "٤٠"),
        "P": ("20", "35", "70", "80", "٦٠"),
    },
    (
        "سؤال جيد!",
        "بالتأكيد، إليك الخطوات باختصار.",
        "السؤال المهم هنا يتعلق بموضوع {PART}.",
        "أهلًا وسهلًا! الحل بسيط: {ACT}.",
        "نعم، هذا ممكنٌ جدًّا.",
    ),
    (
        "يمكنك {ACT} قبل {ACT}.",
        "من الأفضل {ACT} ثم {ACT}.",
        "في معظم الحالات، يكفي {ACT} لحل المشكلة.",
        "إذا {BAD}، فابدأ من {PART}.",
        "لا تنسَ {ACT} بعد كل تغيير.",
        "نحتاج إلى {N} دقيقة تقريبًا من أجل {ACT}.",
        "حوالي {P}% من المشكلات مصدرها {PART}.",
        "بعد ذلك {GOOD} في العادة.",
        "استخدم {LATIN}\u200f من أجل {ACT}.",
        "هل {BAD}؟ السبب غالبًا هو {PART}.",
        "أنصحك أولًا بالتركيز على {PART} (وليس على {PART}).",
        "جرّب \u2066{LATIN}\u2069 ثم قارن النتائج؛ ربما {GOOD}.",
        "عند {ACT}، انتبه إلى {PART}.",
    ),
)

_HEBREW = Language(
    "Hebrew",
    " ",
    {
        "ACT": (
            "לבדוק את קובץ ההגדרות",
            "להריץ את כל הבדיקות",
            "לגבות את מסד הנתונים",
            "לעדכן את הספריות הישנות",
            "למדוד את זמן התגובה",
            "לקצר את זמן המטמון",
            "לפצל פונקציות ארוכות",
            "לבדוק את תשובת ה-API",
            "להמיר את הנתונים ל-JSON",
        ),
        "PART": (
            "יומן השגיאות",
            "מהירות הרשת",
            "גודל הזיכרון",
            "הרשאות המשתמש",
            "מבנה הנתונים",
            "ממשק ה-API",
        ),
        "BAD": ("התגובה איטית", "החיבור מתנתק", "הזיכרון מתמלא", "אחת הבדיקות נכשלת", "התוצאות אינן זהות"),
        "GOOD": ("הדפים נטענים מהר יותר", "מספר השגיאות יורד", "המערכת יציבה יותר", "העלות קטנה"),
        "LATIN": _LATIN,
        "N": ("15", "20", "30", "45"),
        "P": ("20", "35", "70", "80"),
    },
    (
        "שאלה טובה!",
        "שָׁלוֹם! הנה תשובה קצרה.",
        "בוודאי, נעבור על זה צעד אחר צעד.",
        "בקצרה: כדאי {ACT}.",
    ),
    (
        "אם {BAD}, כדאי {ACT}.",
        "אפשר {ACT} ואחר כך {ACT}.",
        "ברוב המקרים מספיק {ACT}.",
        "בדרך כלל צריך {N} דקות כדי {ACT}.",
        "כ-{P}% מהבעיות קשורות אל {PART}.",
        "ההמלצה שלי היא להתחיל עם {PART}.",
        "לאחר מכן {GOOD}.",
        "אם {BAD}, ייתכן שהסיבה היא {PART}.",
        "השתמשו ב-{LATIN} כדי {ACT}.",
        "גם {PART} וגם {PART} משפיעים על התוצאה.",
        "לפני שמשנים משהו, חשוב {ACT} (זה לוקח {N} דקות).",
        "נסו את \u2066{LATIN}\u2069: לעיתים {GOOD}.",
        "האם {BAD}? אל דאגה, אפשר {ACT}.",
    ),
)

CJK = (_CHINESE, _JAPANESE, _KOREAN)
RTL = (_ARABIC, _HEBREW)


def pieces(rng: random.Random, languages: tuple[Language, ...]) -> Iterator[str]:
    """Sentences without end, each with what separates it; another of the languages after a few paragraphs."""
    order, between = Deck(languages, rng), ""
    while True:
        language = order.draw()
        speaker, body = Voice(rng, language.tables), Deck(language.body, rng)
        yield between + speaker.say(language.openings[int(rng.random() * len(language.openings))])
        between = language.between
        for _ in range(3 + int(rng.random() * 3)):
            for _ in range(3 + int(rng.random() * 3)):
                yield between + speaker.say(body.draw())
                between = language.between
            between = "\n\n"
