/* Just enough of JSON to look a value up in the manifest of a bundle. */

#include <string.h>

static const char *json_spaces(const char *at) { return at + strspn(at, " \t\r\n"); }

/* Behind the value that begins here; values of all kinds, strings with escapes. */
static const char *json_skip(const char *at) {
  int depth = 0, quoted = 0;
  for (at = json_spaces(at); *at; at++) {
    if (quoted && *at == '\\' && at[1]) at++;
    else if (*at == '"') quoted = !quoted;
    else if (quoted) continue;
    else if (*at == '{' || *at == '[') depth++;
    else if (*at == '}' || *at == ']') depth--;
    else if (depth == 0 && *at == ',') return at;
    if (depth < 0) return at;
  }
  return at;
}

/* The value of a key, or the item of a list by its number, in what begins here; NULL where there is none. */
static const char *json_at(const char *at, const char *key, int index) {
  at = json_spaces(at);
  if (*at != (key ? '{' : '[')) return NULL;
  for (at = json_spaces(at + 1); *at && *at != '}' && *at != ']'; at = json_spaces(at)) {
    const char *value = at;
    int found = !key && index-- == 0;
    if (key) {
      size_t length = strlen(key);
      found = at[0] == '"' && !strncmp(at + 1, key, length) && at[1 + length] == '"';
      for (value = at + 1; *value && *value != '"'; value++) value += *value == '\\' && value[1];
      value = json_spaces(value + (*value == '"'));
      value += *value == ':';
    }
    if (found) return json_spaces(value);
    at = json_skip(value);
    at += *at == ',';
  }
  return NULL;
}
