import re, pathlib, sys
def sub(path, *pairs, imports=None):
    p = pathlib.Path(path); s = p.read_text()
    for old, new in pairs:
        if s.count(old) != 1: print("!!", path, s.count(old), old[:70])
        s = s.replace(old, new, 1)
    if imports:
        m = re.search(r"^from (\.*|pooling\.|\.\.)errors import (.*)$", s, re.M)
        if m:
            names = sorted({*m[2].split(", "), *imports[1]}, key=lambda n: (n[0].islower(), n))
            s = s[:m.start()] + f"from {m[1]}errors import {', '.join(names)}" + s[m.end():]
        else:
            k = re.search(imports[0], s, re.M)
            s = s[:k.start()] + f"from {imports[2] if len(imports) > 2 else 'pooling.errors'} import {', '.join(imports[1])}\n" + s[k.start():]
    p.write_text(s)

sub("pooling/errors.py",
 ('"Place", "Refusal", "reason_of", "refusal_of", "refused", "rename",', '"Place", "Refusal", "recast", "refusal_of", "refused", "rename",'),
 ('''def reason_of(error: BaseException) -> str:
    """Return what an error says without its function and node, for a sentence that names them."""
    return refusal_of(error).reason


''', '''def recast(kind: Callable[[str], E], place: Place, error: BaseException) -> E:
    """Return an error of another kind with the fields of one that was raised of a part, and the place of that part."""
    refusal = refusal_of(error)
    inner = "" if refusal.function == place.function else refusal.function
    node = ": ".join(filter(None, (place.node, inner, refusal.node)))
    return _with_fields(kind, replace(refusal, function=place.function, node=node))


'''))
sub("pooling/layer.py", ('''        sentence = str(error).removeprefix(f"{function}: ")
        raise kind(f"{function}: layer {position}, {short_repr(layer)}: {sentence}") from error
''', '''        raise recast(kind, Place(function, f"layer {position}, {short_repr(layer)}"), error) from error
'''), imports=("", ["Place", "recast"]))
sub("pooling/onnx_models/nodes.py",
 ('raise type(error)(f"{self.where}: {error}") from error', 'raise recast(type(error), self.where, error) from error'),
 ('where = f"{function}: {_title(node)}"', 'where = Place(function, _title(node))'),
 ('''raise ValueError(f"{where}{domain} is not understood; known are {', '.join(sorted(POOLING_OPERATORS))}")''',
  '''raise value_error(
            function,
            f"{where.node}{domain} is not understood",
            f"known are {', '.join(sorted(POOLING_OPERATORS))}",
        )'''),
 ('    where: str\n', '    where: Place\n'),
 imports=("", ["Place", "recast"]))
sub("pooling/onnx_models/limits.py",
 ('where = f"{function}: with its functions inlined the model would have"', 'whole = "with its functions inlined the model would have"'),
 ('raise ValueError(f"{where} {many(nodes)} nodes; at most {MOST_NODES} are read")', 'raise value_error(function, f"{whole} {many(nodes)} nodes", f"at most {MOST_NODES} are read")'),
 ('raise ValueError(f"{where} {many(size)} bytes of nodes; at most {MOST_BYTES} are read")', 'raise value_error(function, f"{whole} {many(size)} bytes of nodes", f"at most {MOST_BYTES} are read")'))
sub("pooling/onnx_models/load.py",
 ('''    where = f"{function}: {node.op_type} node {node.name or next(iter(node.output), '')!r}"
''', '''    what = f"{node.op_type} node {node.name or next(iter(node.output), '')!r}"
'''),
 ('''            raise ValueError(
                f"{where} reads {name!r}, which no input and no node before it gives; the nodes of a model must stand "
                "in order and never in a cycle"
            )''', '''            raise value_error(
                function,
                f"{what} reads {name!r}, which no input and no node before it gives",
                "the nodes of a model must stand in order and never in a cycle",
            )'''),
 ('raise ValueError(f"{where} writes {name!r}, which is there already; give each tensor one name")', 'raise value_error(function, f"{what} writes {name!r}, which is there already", "give each tensor one name")'),
 ('def external_location(where: str, tensor: onnx.TensorProto, folder: Path) -> str:', 'def external_location(function: str, what: str, tensor: onnx.TensorProto, folder: Path) -> str:'),
 ('raise ValueError(f"{where} has its data in {shown}, which is not in the folder of the model; move it there")', 'raise value_error(function, f"{what} has its data in {shown}, which is not in the folder of the model", "move it there")'),
 ('(_whole_number(f"{where}: {key} of its data in {shown}", entries.get(key)) for key in SPANS)', '(_whole_number(function, f"{what}: {key} of its data in {shown}", entries.get(key)) for key in SPANS)'),
 ('''        raise ValueError(
            f"{where} has its data in {shown} up to byte {begin + length}, but the file has {held}; get the whole file"
        )''', '''        raise value_error(
            function,
            f"{what} has its data in {shown} up to byte {begin + length}, but the file has {held}",
            "get the whole file",
        )'''),
 ('def _whole_number(where: str, text: str | None) -> int:', 'def _whole_number(function: str, what: str, text: str | None) -> int:'),
 ('raise ValueError(f"{where} is {text[:LONGEST_NAME]!r}; it must be a number of bytes")', 'raise value_error(function, f"{what} is {text[:LONGEST_NAME]!r}", "it must be a number of bytes")'),
 ('external_location(f"{function}: {what}", tensor, folder)', 'external_location(function, what, tensor, folder)'))
sub("pooling/onnx_models/backend.py",
 ('''        where = f"{NAME}: initializer {tensor.name!r}"
        check_element_type(where, tensor.data_type)''', '''        what = f"initializer {tensor.name!r}"
        check_element_type(f"{NAME}: {what}", tensor.data_type)'''),
 ('held = _loaded(where, tensor, folder)', 'held = _loaded(what, tensor, folder)'),
 ('raise ValueError(f"{where} cannot be read ({first_line(error)})") from error', 'raise value_error(NAME, f"{what} cannot be read ({first_line(error)})") from error'),
 ('def _loaded(where: str,', 'def _loaded(what: str,'),
 ('raise ValueError(f"{where} has its data in the file {location!r}; give the path of the model, not the model")', '''raise value_error(
            NAME, f"{what} has its data in the file {location!r}", "give the path of the model, not the model"
        )'''),
 ('external_location(where, tensor, folder)', 'external_location(NAME, what, tensor, folder)'),
 ('raise ValueError(f"{where}: its data in {location!r} cannot be read ({first_line(error)})") from error', 'raise value_error(NAME, f"{what}: its data in {location!r} cannot be read ({first_line(error)})") from error'))
sub("pooling/families/norms.py", ('''        raise ValueError(
            f"{function}: {name}={short_repr(value)} must be {rule}; "
            + (f"use a float like {name}=3.0" if finite else "use 1, 2 or another power, or math.inf for the maximum")
        )''', '''        remedy = f"use a float like {name}=3.0" if finite else "use 1, 2 or another power, or math.inf for the maximum"
        raise value_error(function, f"must be {rule}", remedy, argument=(name, value))'''))
sub("pooling/families/fractional.py", ('''        raise ValueError(
            "{function}: indices=None and _random_samples=None leave the windows of the forward call unknown; "
            "give the indices that it returned, or its samples"
        )''', '''        raise value_error(
            "{function}",
            "indices=None and _random_samples=None leave the windows of the forward call unknown",
            "give the indices that it returned, or its samples",
        )'''))
sub("pooling/arguments.py", ('''        meant = f"; for {short_repr(value)} write {nearest!r}" if nearest else ""
        raise value_error(function, f"{rule or f'must be {listed}'}{meant}", argument=(name, value))''',
'''        meant = f"for {short_repr(value)} write {nearest!r}" if nearest else ""
        raise value_error(function, rule or f"must be {listed}", meant, argument=(name, value))'''))
sub("pooling/doctor/network/graph.py",
 ('''BLAMED = re.compile(r"^(?:layer_from_node: \\w+ node (?:with output )?('(?:[^'\\\\\\\\]|\\\\\\\\.)*'|\\"[^\\"]*\\"): )?(?:\\w+: )?")
"""Who speaks in the sentences of others; ours name the stage."""
''', ''),
 ('''        sentence = BLAMED.sub("", str(error))
        raise NetworkError(f"stage {node.name!r} ({node.operator}): {sentence}", node.name) from error''',
  '''        # The stage takes the place of whatever function and node the error names.
        reason = refusal_of(error).reason
        raise NetworkError(f"stage {node.name!r} ({node.operator}): {reason}", node.name) from error'''),
 ('import re\n', ''),
 imports=(r"^from pooling\.(geometry|layer|maps|signs|arguments)", ["refusal_of"]))
sub("pooling/doctor/network/readers/onnx.py", ('NetworkError(str(error).removeprefix("read: "))', 'NetworkError(without(error, "read"))'),
 imports=(r"^from pooling\.onnx_models", ["without"]))
sub("pooling/doctor/report/page.py", ('str(error).removeprefix("doctor: ")', 'without(error, "doctor")'), imports=(r"^from pooling\.", ["without"]))
sub("pooling/validation/stages.py",
 ('''            # The report names the node already.
            sentence = str(error).removeprefix("layer_from_node: ")
            for title in (f"{self.operator} node", f"{self.operator} node with output"):
                sentence = sentence.removeprefix(f"{title} {self.name!r}: ")
            raise CannotRunError(sentence) from error''',
  '''            # The report names the node already.
            refusal = refusal_of(error)
            named = refusal.function == "layer_from_node"
            raise CannotRunError(refusal.reason if named else str(error)) from error'''),
 imports=(r"^from pooling\.onnx_models", ["refusal_of", "without"]))
p = pathlib.Path("pooling/validation/stages.py"); p.write_text(p.read_text().replace('str(error).removeprefix("validate: ")', 'without(error, "validate")'))
sub("pooling/validation/validator.py",
 ('''        except VerificationError as error:
            return Repair((), False, str(error).removeprefix("make_portable: "), count, count)
        except Exception as error:  # of''', '''        except Exception as error:  # also of'''),
 ('str(error).removeprefix("make_portable: ")', 'without(error, "make_portable")'), imports=(r"^from pooling\.", ["without"]))
sub("pooling/validation/deployed/measure.py",
 ('''    except ValueError as error:
        if " lacks " not in str(error):
            raise
        return None''', '''    except OpsetError:
        return None'''))
F = [("pooling/cli/validate.py", 'str(error).removeprefix("validate: ")', 'without(error, "validate")'),
 ("pooling/cli/doctor.py", 'str(error).removeprefix("examine: ").removeprefix("doctor: ")', 'without(error, "examine", "doctor")'),
 ("pooling/cli/node_tests.py", 'str(error).removeprefix("write_node_tests: ")', 'without(error, "write_node_tests")'),
 ("pooling/cli/conformance.py", 'str(error).removeprefix("validate: ").removeprefix("run_conformance: ")', 'without(error, "validate", "run_conformance")'),
 ("pooling/cli/export.py", 're.sub(r"^(to_onnx|to_onnx_backward|save|layers): ", "", str(error))', 'without(error, "to_onnx", "to_onnx_backward", "save", "layers")'),
 ("export/repair/command.py", 'str(error).removeprefix(f"{FUNCTION}: ").removeprefix("save: ")', 'without(error, FUNCTION, "save")'),
 ("export/repair/proof.py", 'str(error).removeprefix(f"{FUNCTION}: ")', 'without(error, FUNCTION)'),
 ("export/repair/repair.py", 'str(error).removeprefix(f"{FUNCTION}: ")', 'without(error, FUNCTION)'),
 ("export/repair/rewrites/rewrite.py", 'str(error).removeprefix("to_onnx: ").removeprefix("layer_from_node: ")', 'without(error, "to_onnx", "layer_from_node")')]
for path, old, new in F: sub(path, (old, new), imports=(r"^from (pooling\.|\.)\w", ["without"]))
sub("export/repair/repair.py", ('said = str(error).removeprefix("layer_from_node: ") if', 'said = without(error, "layer_from_node") if'))
sub("export/repair/rewrites/windows.py", ('SkippedError(str(error).removeprefix(f"{where}: "))', 'SkippedError(refusal_of(error).reason)'), imports=(r"^from pooling", ["refusal_of"]))
p = pathlib.Path("export/repair/rewrites/windows.py"); s = p.read_text()
s = s.replace("_no_window_fits(where, error)", "_no_window_fits(error)").replace("def _no_window_fits(where: str, error: ValueError)", "def _no_window_fits(error: ValueError)"); p.write_text(s)
sub("export/repair/rewrites/explicit_pads.py", ('where = f"{FUNCTION}: {node.op_type} node {title(node)!r}"', 'where = Place(FUNCTION, f"{node.op_type} node {title(node)!r}")'), imports=(r"^from pooling\.", ["Place"]))
sub("export/repair/proof.py",
 ('''                    raise ModelsDiffer(
                        f"{FUNCTION}: {node.op_type} node {node.name or node.output[0]!r} of an input of shape "
                        f"{shape}: {name!r} {difference}{level}"
                    )''', '''                    raise refused(
                        ModelsDiffer,
                        FUNCTION,
                        f"{node.op_type} node {node.name or node.output[0]!r} of an input of shape {shape}: {name!r} "
                        f"{difference}{level}",
                    )'''),
 ('''            raise ModelsDiffer(
                f"{FUNCTION}: onnxruntime runs the original, but not the repaired model ({error})"
            ) from error''', '''            raise refused(
                ModelsDiffer, FUNCTION, f"onnxruntime runs the original, but not the repaired model ({error})"
            ) from error'''),
 ('raise ModelsDiffer(f"{FUNCTION}: output {output.name!r} of the repaired model {difference}")', 'raise refused(ModelsDiffer, FUNCTION, f"output {output.name!r} of the repaired model {difference}")'),
 ('''                    raise ModelsDiffer(
                        f"{FUNCTION}: output {output.name!r} of the repaired model {difference}{OPTIMISED}"
                    )''', '''                    raise refused(
                        ModelsDiffer, FUNCTION, f"output {output.name!r} of the repaired model {difference}{OPTIMISED}"
                    )'''),
 ('reason, loads = "its inputs are no tensors of numbers", True', 'reason, loads = "", True'),
 ('settled = settled and reason != "its inputs are no tensors of numbers"', 'settled = settled and bool(reason)'),
 ('''        reason, loads = str(error), error.loads
    if _runs''', '''        reason, loads = str(error), error.loads
    reason = reason or NO_NUMBERS
    if _runs'''),
 ('''({reason or 'its inputs are no tensors of numbers'})''', '''({reason or NO_NUMBERS})'''),
 ('''LEVELS = ("disabled", "default")''', '''NO_NUMBERS = "its inputs are no tensors of numbers"
"""Why nothing was tried."""
LEVELS = ("disabled", "default")'''),
 imports=(r"^from pooling", ["refused"]))
sub("export/arguments.py",
 ('''        if len(error.args) == 1 and isinstance(error.args[0], str):
            error.args = (error.args[0].replace("to_onnx:", f"{function}:", 1),)
        raise''', '''        rename(error, "to_onnx", function)
        raise'''),
 ('''    sentence = f"to_onnx: pool={short_repr(pool)} must be {kinds} of this package, not {name}"
''', '''    remedy = "use a layer such as pooling.MaxPool2d(2)"
'''),
 ('''        raise TypeError(f"{sentence}; use pooling.{kind.__name__} with the same arguments")
    raise TypeError(f"{sentence}; use a layer such as pooling.MaxPool2d(2)")''', '''        remedy = f"use pooling.{kind.__name__} with the same arguments"
    raise type_error("to_onnx", f"must be {kinds} of this package, not {name}", remedy, argument=("pool", pool))'''),
 imports=("", ["rename"]))
sub("export/graph_builder.py",
 ('''        super().__init__(f"to_onnx: opset={opset} lacks {lacks}, which this pooling needs; {remedy}")
''', '''        self.refusal = Refusal("to_onnx", f"lacks {lacks}, which this pooling needs", remedy, "opset", str(opset))
        super().__init__(str(self.refusal))
'''), imports=(r"^from pooling\.", ["Refusal"]))
sub("export/verification.py",
 ('raise VerificationError(f"to_onnx: {name} is not the result of {last.stage.title} in its layout")', 'raise refused(\n                    VerificationError, "to_onnx", f"{name} is not the result of {last.stage.title} in its layout"\n                )'),
 ('''            raise ModuleNotFoundError(
                "to_onnx: verify=True runs the model in onnxruntime, which is not installed; "
                "run pip install 'ndpooling[onnx]', or use verify=False"
            ) from None''', '''            raise refused(
                ModuleNotFoundError,
                "to_onnx",
                "runs the model in onnxruntime, which is not installed",
                "run pip install 'ndpooling[onnx]', or use verify=False",
                argument=("verify", True),
            ) from None'''),
 ('''            raise VerificationError(
                f"to_onnx: {_this_runtime()} does not run this model ({reason}); "
                "use another opset or dtype, or verify=False",
                "refused",
                reason,
            ) from error''', '''            raise refused(
                partial(VerificationError, fault="refused", detail=reason),
                "to_onnx",
                f"{_this_runtime()} does not run this model ({reason})",
                "use another opset or dtype, or verify=False",
            ) from error'''),
 ('    where = f"to_onnx: {stage.title} in {_this_runtime()}"\n', '    where = f"{stage.title} in {_this_runtime()}"\n'),
 ('''        raise VerificationError(
            f"{where} gives {name} of {given.dtype} {given.shape}, and pooling gives {wanted.dtype} {wanted.shape}",
            "shape",
            f"{name} of {given.dtype} {given.shape} instead of {wanted.dtype} {wanted.shape}",
        )''', '''        detail = f"{name} of {given.dtype} {given.shape} instead of {wanted.dtype} {wanted.shape}"
        raise refused(
            partial(VerificationError, fault="shape", detail=detail),
            "to_onnx",
            f"{where} gives {name} of {given.dtype} {given.shape}, and pooling gives {wanted.dtype} {wanted.shape}",
        )'''),
 ('''    raise VerificationError(
        f"{where} gives {given[position]} at {name}{list(position)}, and pooling gives {wanted[position]}; {must} "
        f"({rule}{f', nan={nan!r}' if nan else ''}); use another opset, or verify=False to have the model as it is",
        "numbers",
        _largest_difference(given, wanted),
    )''', '''    raise refused(
        partial(VerificationError, fault="numbers", detail=_largest_difference(given, wanted)),
        "to_onnx",
        f"{where} gives {given[position]} at {name}{list(position)}, and pooling gives {wanted[position]}; {must} "
        f"({rule}{f', nan={nan!r}' if nan else ''})",
        "use another opset, or verify=False to have the model as it is",
    )'''), imports=(r"^from pooling\.", ["refused"]))
