"""Spanish and German sentences: smaller grammars, for generalisation to other sounds."""

from __future__ import annotations

from lpm.data.puppets.language_grammar import Grammar, choices

SPANISH = Grammar(
    name="Spanish",
    statements=(
        "{opener}{who} {did} {thing} {when}.",
        "{who} {did} {thing}, y {comment}.",
        "Creo que {who} {did} {thing}.",
    ),
    questions=("¿{who} {did} {thing} {when}?", "¿Por qué {who} {did} {thing}?", "¿Sabes que {who} {did} {thing}?"),
    exclamations={
        "happy": ("¡Qué alegría, {who} {did} {thing}!",),
        "sad": ("Qué pena, {who} perdió {thing}.",),
        "angry": ("¡Basta, no hables de {thing}!",),
        "surprised": ("¡No puede ser, {who} {did} {thing}!",),
    },
    words={
        "opener": choices(" |  | bueno,  | mira,  | sí,  | pues, "),
        "who": choices(
            "mi hermana | el médico | la vecina | mi padre | el perro | nadie | ella | mi amigo Pablo | la profesora"
        ),
        "did": choices("compró | encontró | olvidó | pintó | abrió | vio | perdió | buscó | trajo | imaginó"),
        "thing": choices(
            "una casa | el libro | cinco manzanas | la música | un barco de papel | los zapatos azules | "
            "la puerta | una película | el mapa | una botella vacía | mi bolsa | el pan"
        ),
        "when": choices(
            "hoy | ayer | por la mañana | otra vez | esta semana | en verano | antes de comer | sin querer"
        ),
        "comment": choices("me gusta | no importa | fue muy bonito | todos reímos | ya está | me parece bien"),
    },
    backchannels=("Sí.", "Ajá.", "Claro.", "Vale.", "Ya."),
    voices=("es", "es-419"),
)

GERMAN = Grammar(
    name="German",
    statements=(
        "{opener}{who} hat {when} {thing} {did}.",
        "{who} hat {thing} {did}, und {comment}.",
        "Ich glaube, {who} hat {thing} {did}.",
    ),
    questions=("Hat {who} {when} {thing} {did}?", "Warum hat {who} {thing} {did}?", "Wo hat {who} {thing} {did}?"),
    exclamations={
        "happy": ("Wie schön, {who} hat {thing} {did}!",),
        "sad": ("Schade, {who} hat {thing} verloren.",),
        "angry": ("Hör auf, {thing} zu suchen!",),
        "surprised": ("Unglaublich, {who} hat {thing} {did}!",),
    },
    words={
        "opener": choices(" |  | also,  | na ja,  | doch,  | weißt du, "),
        "who": choices(
            "meine Schwester | der Arzt | die Nachbarin | mein Vater | der Hund | niemand | sie | "
            "mein Freund Paul | das Kind"
        ),
        "did": choices(
            "gekauft | gefunden | vergessen | gemalt | gesehen | verloren | gesucht | mitgebracht | bemerkt | geliebt"
        ),
        "thing": choices(
            "ein Haus | das Buch | fünf Äpfel | die Musik | ein Boot aus Papier | die blauen Schuhe | "
            "den Film | die Karte | eine leere Flasche | meine Tasche | das Brot | viele Blumen"
        ),
        "when": choices(
            "heute | gestern | am Morgen | wieder | diese Woche | im Sommer | vor dem Essen | aus Versehen"
        ),
        "comment": choices(
            "das gefällt mir | das macht nichts | es war wunderbar | alle haben gelacht | das ist alles | ich bin froh"
        ),
    },
    backchannels=("Ja.", "[[mh'm]]", "Genau.", "Aha.", "Gut."),
    voices=("de",),
)
