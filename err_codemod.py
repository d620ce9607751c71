import ast, io, pathlib, re, sys, tokenize
SKIP = {"pooling/reference.py", "pooling/errors.py"}
WHERE_OK = {"pooling/onnx_models/nodes.py", "export/repair/rewrites/windows.py"}
NAME_OK = {"pooling/layer.py", "pooling/families/regions.py", "pooling/families/unpooling.py"}
SPEAKERS = ["{function}", "{self.function}", "{total.function}", "{FUNCTION}", "{NAME}", "{type(self).__name__}"]
WORDS = "to_onnx layers examine doctor save validate read load pooling Sequential output_shape judge smallest conformance_suite write_node_tests run_conformance".split()
HELP = {"ValueError": "value_error", "TypeError": "type_error"}

def parts(node):
    if isinstance(node, ast.Constant): return [node.value]
    if isinstance(node, ast.JoinedStr):
        out = []
        for v in node.values: out += parts(v) if isinstance(v, ast.Constant) else [ast.dump(v)]
        return out
    return [ast.dump(ast.FormattedValue(node, -1))]
def merged(ps):
    out = []
    for p in ps:
        isdump = p.startswith("FormattedValue(")
        if out and not isdump and not out[-1].startswith("FormattedValue("): out[-1] += p
        else: out.append(p)
    return out
def scan(body):
    """positions of '; ' outside of braces"""
    depth, found, i = 0, [], 0
    while i < len(body):
        if body[i] in "{}" and body[i:i+2] in ("{{", "}}") and depth == 0: i += 2; continue
        if body[i] == "{": depth += 1
        elif body[i] == "}": depth -= 1
        elif depth == 0 and body.startswith("; ", i): found.append(i)
        i += 1
    return found
def rebuilt(path, call, src):
    arg = call.args[0]
    seg = ast.get_source_segment(src, arg)
    try: toks = [t for t in tokenize.generate_tokens(io.StringIO("(" + seg + ")").readline)]
    except Exception: return None
    strs = [t for t in toks if t.type == tokenize.STRING]
    other = [t for t in toks if t.type not in (tokenize.STRING, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER) and t.string not in "()"]
    if other or not strs: return None
    pieces = []
    for t in strs:
        m = re.fullmatch(r'(f?)(["\'])(.*)\2', t.string, re.S)
        if not m or m[2]*3 == t.string[len(m[1]):len(m[1])+3] and len(t.string) > 5: return None
        pieces.append([m[1], m[2], m[3]])
    f, q, body = pieces[0]
    speakers = list(SPEAKERS)
    if str(path) in WHERE_OK: speakers += ["{where}", "{self.where}", "{reading.where}"]
    if str(path) in NAME_OK: speakers += ["{name}"]
    who = None
    for s in speakers:
        if f and body.startswith(s + ": "): who, rest = s[1:-1], body[len(s)+2:]
    for w in WORDS:
        if body.startswith(w + ": "): who, rest = '"%s"' % w, body[len(w)+2:]
    if who is None: return None
    argument = ""
    m = re.match(r"(\w+|\{name\})=\{short_repr\(([^{}]*)\)\} (?!and )", rest) if f else None
    if m and m[2].count("(") == m[2].count(")"):
        argument = f', argument=({"name" if m[1] == "{name}" else chr(34)+m[1]+chr(34)}, {m[2]})'
        rest = rest[m.end():]
    pieces[0][2] = rest
    # last "; " outside of braces
    cut = None
    for number in range(len(pieces) - 1, -1, -1):
        f2, q2, b2 = pieces[number]
        found = scan(b2) if f2 else [k.start() for k in re.finditer("; ", b2)]
        if found: cut = (number, found[-1]); break
    def lit(p):
        f3, q3, b3 = p
        if f3 and "{" not in b3 and "}" not in b3: f3 = ""
        if f3 and "{" not in b3.replace("{{", ""): f3, b3 = "", b3.replace("{{", "{").replace("}}", "}")
        m3 = re.fullmatch(r"\{([\w.]+)\}", b3) if f3 else None
        return m3[1] if m3 else f3 + q3 + b3 + q3
    rule, remedy = pieces, []
    if cut:
        n, at = cut
        f2, q2, b2 = pieces[n]
        rule = [*pieces[:n], [f2, q2, b2[:at]]]
        remedy = [[f2, q2, b2[at+2:]], *pieces[n+1:]]
    width = 120 - (call.col_offset - 6) - 4 - 5  # `raise ` stands in front
    def wrapped(ps):
        ps = [p for p in ps if p[2]]
        if len({p[1] for p in ps}) > 1: return ps
        anyf = any(p[0] for p in ps)
        body = "".join(p[2] if p[0] or not anyf else p[2].replace("{", "{{").replace("}", "}}") for p in ps)
        out, start, depth, last, i = [], 0, 0, -1, 0
        while i < len(body):
            if body[i:i+2] in ("{{", "}}") and depth == 0: i += 2; continue
            depth += (body[i] == "{") - (body[i] == "}")
            if body[i] == " " and depth == 0:
                if i + 1 - start > width and last > start: out.append(body[start:last]); start = last
                last = i + 1
            i += 1
        if len(body) - start > width and last > start: out.append(body[start:last]); start = last
        out.append(body[start:])
        return [["f" if anyf else "", ps[0][1], b] for b in out if b]
    rule, remedy = wrapped(rule) if any(p[2] for p in rule) else [], wrapped(remedy) if remedy else []
    rule = [p for p in rule if p[2]]; remedy = [p for p in remedy if p[2]]
    if not rule: return None
    one = lambda ps: lit(ps[0]) if len(ps) == 1 else " ".join(p[0] + p[1] + p[2] + p[1] if re.fullmatch(r"\{[\w.]+\}", p[2]) else lit(p) for p in ps)
    text = f'{who}, ' + one(rule) + (", " + one(remedy) if remedy else "") + argument
    name = call.func.id
    new = f"{HELP[name]}({text})" if name in HELP else f"refused({name}, {text})"
    # proof
    c = ast.parse(new, mode="eval").body
    args = c.args[0 if name in HELP else 1:]
    a = [*parts(args[0]), ": "]
    for k in c.keywords:
        nm, val = k.value.elts
        a += [*parts(nm), "=", ast.dump(ast.FormattedValue(ast.Call(ast.Name("short_repr", ast.Load()), [val], []), -1)), " "]
    a += parts(args[1])
    if len(args) > 2: a += ["; ", *parts(args[2])]
    assert merged(a) == merged(parts(arg)), (path, call.lineno, merged(a), merged(parts(arg)))
    return new
total = 0
for p in sorted([*pathlib.Path("pooling").rglob("*.py"), *pathlib.Path("export").rglob("*.py")]):
    if str(p) in SKIP or "benchmark" in str(p): continue
    src = p.read_text(); tree = ast.parse(src); edits = []
    lines = src.splitlines(True); offs = [0]
    raw = src.encode()
    for l in lines: offs.append(offs[-1] + len(l.encode()))
    helpers = set()
    for n in ast.walk(tree):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in ("ValueError", "TypeError", "kind") and len(n.args) == 1 and not n.keywords:
            new = rebuilt(p, n, src)
            if new:
                edits.append((offs[n.lineno-1] + n.col_offset, offs[n.end_lineno-1] + n.end_col_offset, new)); helpers.add(new.split("(")[0])
            elif isinstance(n.args[0], (ast.JoinedStr, ast.Constant)) and re.match(r"^f?['\"][\w{}.()]+: ", ast.unparse(n.args[0])): print("left", p, n.lineno, ast.unparse(n.args[0])[:110])
    for a, b, new in sorted(edits, reverse=True): raw = raw[:a] + new.encode() + raw[b:]
    if edits:
        total += len(edits)
        src = raw.decode()
        # import beside that of signs or arguments, else after the last import
        dots = None
        for n in tree.body:
            if isinstance(n, ast.ImportFrom) and n.module != "__future__": last = n
        rel = p.parts
        inside = rel[0] == "pooling"
        depth = len(rel) - 1
        mod = "pooling.errors" if rel[0] == "export" or len(rel) > 2 else ".errors"
        # relative style as others in the file
        m = re.search(r"^from (\.+|pooling\.)signs import", src, re.M)
        if m: mod = m[1] + "errors"
        elif depth == 2 and re.search(r"^from \.\.\w", src, re.M): mod = "..errors"
        stmt = f"from {mod} import {', '.join(sorted(helpers))}\n"
        imports = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
        place = next((n for n in imports if isinstance(n, ast.ImportFrom) and n.module and n.module.endswith("signs")), imports[-1])
        ls = src.splitlines(True)
        # lines of imports have not moved: all edits lie behind
        ls.insert(place.lineno - 1, stmt)
        p.write_text("".join(ls))
print(total, "sites")
