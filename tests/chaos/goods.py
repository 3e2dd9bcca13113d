"""What the made-up shop sells and what people ask it for."""

from model.items import Item

SEARCHED = [
    "tea", "green tea", "绿茶", "智能手机", "phone", "手机壳", "chocolate", "巧克力", "book",
    "كتاب", "чай", "coffee beans", "咖啡豆", "red shoes", "红色 运动鞋", "  Tea ", "TEA", "milk",
    "牛奶", "naïve", "面包", "bread", "jam",
    "a rather long search for something that no profile has the room to keep whole",
    "非常长的搜索词，超过了个人资料里为每次搜索保留的五十个字节",
]  # fmt: skip
_KINDS_OF_ITEMS = [
    ("智能手机", "电子产品"), ("chocolate", "sweets"), ("green tea", "drinks"), ("كتاب", "books"),
]  # fmt: skip
ITEMS = [
    Item(
        item_id=f"item-{number}",
        title=f"{title} {number}",
        category=(department, title),
        brand="Nordlicht",
        price=float(number),
    )
    for number, (title, department) in enumerate(_KINDS_OF_ITEMS * 12)
]
"""Fewer than the neighbours that are kept of each item, so that nothing is pruned."""
