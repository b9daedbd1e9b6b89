MODE = "SR:MODE"

before = read_channel(MODE)
write_channel(MODE, "Machine Study")
results = {"before": int(before), "after": int(read_channel(MODE))}
print(f"{MODE}: {results['before']} -> {results['after']}")
