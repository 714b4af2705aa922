# The part of cloud-config that a tiny guest understands, written to files below `out`: hostname, keys
# (ssh_authorized_keys), runcmd (a shell script), files (a shell script that writes write_files).
function unquote(s) {
    sub(/^[ \t]+/, "", s); sub(/[ \t\r]+$/, "", s)
    if (s ~ /^".*"$/ || s ~ /^'.*'$/) s = substr(s, 2, length(s) - 2)
    return s
}
# A command given as a list: [ls, -l, "a b"].
function words(s,    n, parts, i, line) {
    s = substr(s, 2, length(s) - 2); n = split(s, parts, ","); line = ""
    for (i = 1; i <= n; i++) { parts[i] = unquote(parts[i]); gsub(/'/, "'\\''", parts[i]); line = line "'" parts[i] "' " }
    return line
}
function indent_of(s) { match(s, /^ */); return RLENGTH }
function end_file() {
    if (path == "") return
    gsub(/'/, "'\\''", body)
    print "mkdir -p \"$(dirname '" path "')\"" > (out "/files")
    print "printf %s '" body "' > '" path "'" > (out "/files")
    if (mode != "") print "chmod " mode " '" path "'" > (out "/files")
    path = ""; body = ""; mode = ""; block = 0
}
block && section == "write_files" && ($0 ~ /^[ \t]*$/ || indent_of($0) > block_parent) {
    if ($0 ~ /^[ \t]*$/) { body = body "\n"; next }
    if (!block_indent) block_indent = indent_of($0)
    body = body substr($0, block_indent + 1) "\n"; next
}
{ block = 0 }
/^[ \t]*(#.*)?$/ { next }
/^[A-Za-z_]+:/ {
    end_file(); section = $0; sub(/:.*/, "", section); rest = $0; sub(/^[A-Za-z_]+:[ \t]*/, "", rest)
    if (section == "hostname" && rest != "") print unquote(rest) > (out "/hostname")
    next
}
section == "ssh_authorized_keys" && /^[ \t]*- / { line = $0; sub(/^[ \t]*- /, "", line); print unquote(line) > (out "/keys"); next }
section == "runcmd" && /^[ \t]*- / {
    line = $0; sub(/^[ \t]*- /, "", line)
    if (line ~ /^\[.*\][ \t\r]*$/) { sub(/[ \t\r]+$/, "", line); print words(line) > (out "/runcmd") }
    else print unquote(line) > (out "/runcmd")
    next
}
section == "write_files" {
    line = $0
    if (line ~ /^[ \t]*- /) { end_file(); sub(/- /, "  ", line) }
    name = line; sub(/:.*/, "", name); gsub(/[ \t]/, "", name)
    rest = line; sub(/^[^:]*:[ \t]*/, "", rest)
    if (name == "path") path = unquote(rest)
    else if (name == "permissions") mode = unquote(rest)
    else if (name == "content") {
        if (rest ~ /^[|]/) { block = 1; block_parent = indent_of(line); block_indent = 0 }
        else body = unquote(rest)
    }
}
END { end_file() }
