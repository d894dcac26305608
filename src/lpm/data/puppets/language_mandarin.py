"""Mandarin sentences, in characters."""

from __future__ import annotations

from lpm.data.puppets.language_grammar import Grammar, choices

MANDARIN = Grammar(
    name="Mandarin",
    statements=(
        "{opener}{who}{when}{did}{thing}。",
        "{who}{did}{thing}，{comment}。",
        "{who}说{place}有{thing}，{comment}。",
        "我{feel}{who}{did}{thing}。",
        "因为{who}{did}{thing}，所以{comment}。",
    ),
    questions=(
        "{who}{when}{did}{thing}吗?",
        "你知道{thing}在{place}吗?",
        "{opener}你{feel}{thing}怎么样?",
        "为什么{who}{did}{thing}呢?",
        "{who}是不是{did}{thing}?",
    ),
    exclamations={
        "happy": ("太好了，{who}{did}{thing}!", "我真喜欢{thing}!", "今天真开心，{place}有{thing}!"),
        "sad": ("真可惜，{who}{lost}{thing}。", "我很想念{thing}。", "我难过，因为{who}{lost}{thing}。"),
        "angry": ("别再说{thing}了!", "我告诉过你，{who}{lost}{thing}!", "我受够了{thing}!"),
        "surprised": ("哇，{place}有{thing}!", "没想到{who}{did}{thing}!", "天啊，{thing}不见了!"),
        "afraid": ("我怕{thing}。", "救命，{place}有{thing}!", "小心{thing}!"),
        "disgusted": ("谁把{thing}放在{place}?", "我讨厌{thing}。", "这个味道像{thing}。"),
        "contemptuous": ("{who}{did}{thing}，那又怎么样。", "{thing}算什么。", "谁都能找到{thing}。"),
        "sleepy": ("我太累了，不想看{thing}。", "我困了，{thing}明天再说。", "{who}{did}{thing}的时候叫醒我。"),
    },
    words={
        "opener": choices(" |  | 其实 | 那么， | 对了， | 好吧， | 不过， | 你看， | 嗯， | 也许"),
        "who": choices(
            "我妈妈 | 我爸爸 | 老师 | 医生 | 我的朋友 | 她 | 他 | 我们 | 他们 | 那个学生 | 小猫 | 大家 | "
            "弟弟 | 邻居 | 我姐姐 | 老板"
        ),
        "when": choices("今天 | 昨天 | 早上 | 晚上 | 上个星期 | 下午 | 以前 | 刚才 | 每天 | 夏天"),
        "did": choices(
            "买了 | 看见了 | 找到了 | 忘了 | 做了 | 画了 | 打开了 | 想起了 | 带来了 | 修好了 | 听说了 | "
            "爱上了 | 谈到了 | 卖掉了"
        ),
        "lost": choices("丢了 | 弄坏了 | 忘了 | 卖掉了 | 扔了 | 没买到 | 打破了"),
        "thing": choices(
            "苹果 | 一本书 | 新房子 | 那部电影 | 白色的马 | 一杯茶 | 蓝色的鞋子 | 生日蛋糕 | 一张地图 | "
            "我的包 | 音乐 | 漂亮的花 | 好吃的面包 | 一个故事 | 旧手机 | 很多瓶子 | 红色的汽车 | 一条鱼 | "
            "妈妈的帽子 | 春天的计划"
        ),
        "place": choices("公园里 | 家里 | 门口 | 桌子上 | 学校旁边 | 桥下面 | 床底下 | 商店里 | 海边 | 那边"),
        "comment": choices(
            "我很高兴 | 大家都笑了 | 没问题 | 这样就够了 | 我不明白 | 真有意思 | 你可以放心 | 我觉得不错 | "
            "慢慢来 | 以后再说 | 明天见 | 谢谢你"
        ),
        "feel": choices("觉得 | 听说 | 知道 | 希望 | 相信 | 发现"),
    },
    backchannels=("嗯。", "嗯嗯。", "对。", "是的。", "哦。", "好。", "没错。"),
    voices=("cmn",),
)
