# Flattens one JSON document: a line "path<TAB>value" for each scalar, the path joined by dots, strings unescaped
# (\u escapes stay as they are, a newline inside a string becomes a space). Enough for meta_data.json.
{ text = text $0 "\n" }
END { value("") }
function blank() { if (match(text, /^[ \t\r\n]+/)) text = substr(text, RLENGTH + 1) }
function drop() { text = substr(text, 2) }
function string(    out) {
    drop(); out = ""
    while (length(text) && substr(text, 1, 1) != "\"") {
        if (match(text, /^[^"\\]+/)) { out = out substr(text, 1, RLENGTH); text = substr(text, RLENGTH + 1); continue }
        esc = substr(text, 2, 1); text = substr(text, 3)
        if (esc == "n" || esc == "r" || esc == "t") out = out " "
        else if (esc == "u") out = out "\\u"
        else out = out esc
    }
    drop()
    sub(/ +$/, "", out)
    return out
}
function join(path, name) { return path == "" ? name : path "." name }
function value(path,    first, name, n) {
    blank(); first = substr(text, 1, 1)
    if (first == "{") {
        drop(); blank()
        while (length(text) && substr(text, 1, 1) != "}") {
            name = string(); blank(); drop(); value(join(path, name)); blank()
            if (substr(text, 1, 1) == ",") { drop(); blank() }
        }
        drop()
    } else if (first == "[") {
        n = 0; drop(); blank()
        while (length(text) && substr(text, 1, 1) != "]") {
            value(join(path, n)); n++; blank()
            if (substr(text, 1, 1) == ",") { drop(); blank() }
        }
        drop()
    } else if (first == "\"") {
        print path "\t" string()
    } else if (match(text, /^[^],} \t\r\n]+/)) {
        print path "\t" substr(text, 1, RLENGTH); text = substr(text, RLENGTH + 1)
    } else {
        text = ""
    }
}
