"""English sentences."""

from __future__ import annotations

from lpm.data.puppets.language_grammar import Grammar, choices

ENGLISH = Grammar(
    name="English",
    statements=(
        "{opener}{who} {did} {thing} {when}.",
        "{who} {did} {thing}, and {comment}.",
        "{opener}{plural} {do} {thing} {when}.",
        "I {feel} that {who} {did} {thing}.",
        "There is {thing} {place}, so {comment}.",
        "When {plural} {do} {thing}, {comment}.",
    ),
    questions=(
        "{ask} {plural} {do} {thing}?",
        "Did you know that {who} {did} {thing}?",
        "Can you show me {thing} {place}?",
        "{opener}what do {plural} think about {thing}?",
        "Have you ever seen {thing} {place}?",
    ),
    exclamations={
        "happy": (
            "I am so happy about {thing}!",
            "What a beautiful day, {who} {did} {thing}!",
            "I love {thing} so much!",
        ),
        "sad": ("I am sorry, {who} {lost} {thing}.", "I miss {thing} so much.", "It is a pity about {thing} {place}."),
        "angry": ("Stop talking about {thing}!", "I told you, {who} {lost} {thing}!", "I am fed up with {thing}!"),
        "surprised": (
            "Wow, look at {thing} {place}!",
            "I can't believe {who} {did} {thing}!",
            "Oh my, where is {thing}?",
        ),
        "afraid": ("Please help me, there is {thing} {place}!", "I am afraid of {thing}.", "Be careful with {thing}!"),
        "disgusted": ("Eww, who put {thing} {place}?", "I can't stand {thing}.", "This smells like {thing}."),
        "contemptuous": (
            "Well, {who} {did} {thing}, big deal.",
            "Anybody could find {thing} {place}.",
            "So that is {thing}, is it?",
        ),
        "sleepy": (
            "I am too tired for {thing}.",
            "Wake me up when {who} {did} {thing}.",
            "Maybe {thing} can wait {when}.",
        ),
    },
    words={
        "opener": choices("well,  | oh,  | you know,  | so,  | maybe  | yes,  | no,  | okay,  | to be fair,  |  |  | "),
        "who": choices(
            "my sister | my father | the old man | the doctor | our teacher | a good friend | the little dog | "
            "everybody | nobody | she | he | my uncle Bob | the new neighbor | her brother | the mayor | "
            "that student"
        ),
        "did": choices(
            "found | bought | painted | forgot | remembered | opened | talked about | lost | made | "
            "brought home | repaired | dreamed of | really wanted | saw | heard about | fell in love with"
        ),
        "lost": choices("lost | broke | forgot | sold | threw away | left behind | ruined | burned"),
        "plural": choices("we | they | you | people | my parents | the children | your friends | most of us"),
        "do": choices(
            "need | love | find | make | talk about | remember | look for | buy | move | worry about | bring | prefer"
        ),
        "thing": choices(
            "the music | a big house | your new car | the story of my life | apples and oranges | "
            "a warm room | that movie | five white horses | the paper boat | a plan for the summer | "
            "the blue shoes | my favorite book | good food | a bumpy road | the empty bottle | "
            "fish and potatoes | the very first chapter | a pile of old maps | the moon | some funny jokes | "
            "a cup of coffee | the garden gate | a voice from above | the birthday cake"
        ),
        "when": choices(
            "today | tomorrow morning | all the time | before lunch | once more | for a while | last week | "
            "every evening | at the weekend | by mistake | in the summer | after the show"
        ),
        "place": choices(
            "in the park | at home | by the door | above the water | behind the house | on the table | "
            "near the bridge | under the bed | in my bag | over there"
        ),
        "comment": choices(
            "that was wonderful | I believe it | we all laughed | nothing else matters | it was fine with me | "
            "that is enough | it made my day | you may have it | it will be fun | the problem is solved | "
            "I forgot the rest | it feels good"
        ),
        "feel": choices("think | believe | know | heard | hope | am sure | remember | would say"),
        "ask": choices("do | why do | when do | how do | where do | how often do"),
    },
    backchannels=("[[m@h'@m]]", "[[@h'V]]", "Yeah.", "Right.", "I see.", "Oh.", "Okay.", "Sure."),
    voices=("en-us", "en-us", "en-gb-x-rp", "en-gb-scotland", "en-029"),
)
