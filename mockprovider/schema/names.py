"""What the name of a property says about its value: short lists of everyday words."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["FORMAT_OF", "KEYS", "VALUES", "WORDS", "clues"]

_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

WORDS: Final = (
    "amber", "anchor", "apple", "autumn", "basket", "bridge", "candle", "canvas", "cedar",
    "cloud", "copper", "corner", "field", "garden", "glass", "harbor", "island", "kettle",
    "lantern", "ladder", "lemon", "linen", "maple", "marble", "meadow", "mirror", "morning",
    "orchard", "paper", "pebble", "pencil", "quiet", "river", "saddle", "silver", "spring",
    "stone", "summer", "timber", "valley", "velvet", "violet", "walnut", "window", "winter",
)  # fmt: skip

KEYS: Final = ("alpha", "beta", "gamma", "delta", "north", "south", "east", "west", "first", "second", "third")
"""Names for the members of an object that is used as a map."""

FORMAT_OF: Final[dict[str, str]] = {
    "at": "date-time",
    "birthday": "date",
    "date": "date",
    "datetime": "date-time",
    "deadline": "date",
    "domain": "hostname",
    "duration": "duration",
    "email": "email",
    "endpoint": "uri",
    "guid": "uuid",
    "homepage": "uri",
    "host": "hostname",
    "hostname": "hostname",
    "href": "uri",
    "ip": "ipv4",
    "link": "uri",
    "mail": "email",
    "timestamp": "date-time",
    "uri": "uri",
    "url": "uri",
    "uuid": "uuid",
    "website": "uri",
}
"""Words of a name for which the value is one of a format, where the schema names none."""

_ALSO: Final = {
    "author": "name", "authorname": "name", "body": "content", "brand": "company", "caption": "title",
    "comment": "message", "contactname": "name", "customer": "name", "customername": "name",
    "destination": "city", "details": "description", "dir": "directory", "displayname": "name",
    "employer": "company", "explanation": "reason", "familyname": "lastname", "folder": "directory",
    "fullname": "name", "givenname": "firstname", "goal": "task", "guestname": "name", "heading": "title",
    "headline": "title", "ingredient": "food", "instruction": "task", "instructions": "task", "job": "role",
    "justification": "reason", "keyword": "tag", "kind": "type", "label": "tag", "lang": "language",
    "lat": "latitude", "lng": "longitude", "lon": "longitude",
    "location": "city", "nation": "country", "note": "message", "occupation": "role", "organization": "company",
    "origin": "city", "person": "name", "personname": "name", "phrase": "query", "place": "city",
    "prompt": "question", "rationale": "reason", "reasoning": "reason", "reply": "answer", "response": "answer",
    "search": "query", "state": "status", "step": "task", "subject": "title", "surname": "lastname",
    "telephone": "phone", "term": "query", "text": "content", "thought": "reason", "todo": "task",
    "topic": "query", "town": "city", "tz": "timezone", "units": "unit", "user": "name", "username": "login",
    "zip": "postcode",
}  # fmt: skip

_LISTS: Final[dict[str, tuple[str, ...]]] = {
    "action": ("create", "update", "open", "close", "send"),
    "address": ("12 Harbour Street", "48 Mill Lane", "7 Station Road", "101 Cedar Avenue"),
    "airport": ("CDG", "LIS", "NRT", "YYZ", "AMS"),
    "answer": ("Yes, that is possible.", "It takes about two days.", "There are three of them."),
    "category": ("books", "kitchen", "travel", "garden", "music"),
    "city": ("Paris", "Lisbon", "Kyoto", "Toronto", "Nairobi", "Oslo", "Lima", "Melbourne"),
    "code": ("print('hello')", "total = sum(values)", "return left + right"),
    "color": ("red", "teal", "amber", "navy", "white"),
    "colour": ("red", "teal", "amber", "navy", "white"),
    "command": ("ls -l", "git status", "make test", "cat README.md"),
    "company": ("Northwind Traders", "Lakeside Books", "Bright Mills", "Harbour & Sons"),
    "content": ("The meeting is moved to Thursday at ten.", "The lamp is back in stock.", "All three tests pass now."),
    "country": ("France", "Portugal", "Japan", "Canada", "Kenya", "Norway", "Peru", "Australia"),
    "currency": ("EUR", "USD", "JPY", "CAD", "KES", "NOK"),
    "description": ("A small lamp for the desk.", "A quiet room with a view.", "Notes from the last meeting."),
    "directory": ("/home/ada/projects", "src", "/var/log", "docs/guide"),
    "error": ("file not found", "the connection was closed", "permission denied"),
    "file": ("notes.md", "report.csv", "photo.jpg", "main.py"),
    "filename": ("notes.md", "report.csv", "photo.jpg", "main.py"),
    "firstname": ("Ada", "Alan", "Grace", "Farid", "Ines", "Kenji"),
    "food": ("tomatoes", "rice", "olive oil", "basil", "lentils"),
    "gender": ("female", "male", "other"),
    "genre": ("novel", "essay", "poetry", "jazz", "documentary"),
    "id": ("a1f4", "b720", "c93e", "d058", "e6c2", "f31b"),
    "isbn": ("978-0-00-000000-2", "978-1-23-456789-7"),
    "key": ("alpha", "beta", "gamma", "delta"),
    "language": ("English", "French", "Japanese", "Portuguese", "Swahili"),
    "lastname": ("Okafor", "Lindgren", "Moreau", "Tanaka", "Silva", "Novak"),
    "latitude": ("48.857", "38.722", "35.012", "43.653"),
    "level": ("low", "medium", "high"),
    "locale": ("en-US", "fr-FR", "ja-JP", "pt-PT"),
    "login": ("ada_l", "grace.h", "farid42", "ines", "kenji_t"),
    "longitude": ("2.352", "-9.139", "135.768", "-79.383"),
    "message": ("See you tomorrow at nine.", "The order is on its way.", "Thank you for the quick answer."),
    "method": ("GET", "POST", "PUT", "DELETE"),
    "model": ("standard", "compact", "large"),
    "name": ("Ada Okafor", "Alan Lindgren", "Grace Moreau", "Kenji Tanaka", "Ines Silva", "Farid Novak"),
    "nationality": ("French", "Portuguese", "Japanese", "Canadian", "Kenyan"),
    "path": ("/home/ada/notes.md", "src/main.py", "/var/log/app.log", "docs/guide/start.md"),
    "phone": ("+1 202-555-0114", "+1 202-555-0148", "+44 20 7946 0018", "+44 20 7946 0921"),
    "postcode": ("75011", "1100-148", "10115", "04109"),
    "priority": ("low", "normal", "high"),
    "product": ("desk lamp", "travel mug", "wool blanket", "garden hose"),
    "query": ("weather in Lisbon", "best hiking boots", "open source license", "train to Kyoto"),
    "question": ("What is the capital of Peru?", "How long does delivery take?", "Which one is cheaper?"),
    "reason": ("The newer one is cheaper.", "Both numbers agree with the report.", "The date is in the past."),
    "region": ("Provence", "Hokkaido", "Ontario", "Algarve"),
    "role": ("editor", "engineer", "teacher", "analyst"),
    "sentiment": ("positive", "neutral", "negative"),
    "sku": ("LMP-204", "MUG-017", "BLK-330"),
    "sql": ("SELECT name FROM users LIMIT 10", "SELECT count(*) FROM orders"),
    "status": ("open", "pending", "done"),
    "street": ("Harbour Street", "Mill Lane", "Station Road"),
    "summary": ("Sales rose in spring and fell in autumn.", "Two of the three goals were met."),
    "symbol": ("ACME", "NWND", "BRML"),
    "tag": ("new", "sale", "travel", "archive", "draft"),
    "task": ("Water the plants", "Book the train", "Read the report", "Call the bank"),
    "time": ("09:30", "14:00", "18:45", "07:15"),
    "timezone": ("Europe/Paris", "Asia/Tokyo", "America/Toronto", "Africa/Nairobi"),
    "title": ("A Quiet Morning", "Notes on Bread", "The Harbour at Night", "Report for Spring"),
    "type": ("basic", "standard", "special"),
    "unit": ("celsius", "kilometre", "kilogram", "litre"),
    "version": ("1.0.2", "2.4.0", "0.9.1"),
}

VALUES: Final[dict[str, tuple[str, ...]]] = {**_LISTS, **{word: _LISTS[other] for word, other in _ALSO.items()}}
"""By a word of a property's name: values that such a property has in real data."""


def clues(name: str) -> list[str]:
    """What a name may mean, the surest first: all its words as one, its last two, then each from the last to the first.

    `userFirstName` gives `userfirstname`, `firstname`, `name`, `first`, `user`; plurals become singular. Of a
    `product_name` the product says more than the name, and of a `tool_name` neither says that it is a person's.
    """
    words = [_singular(piece.lower()) for piece in _PIECES.findall(name)]
    found = ["".join(words), "".join(words[-2:]), *reversed(words)]
    if len(words) > 1 and words[-1] == "name":
        found = [clue for clue in found if clue != "name"]
    return list(dict.fromkeys(found))


def _singular(word: str) -> str:
    if word in VALUES or word in FORMAT_OF:
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word
