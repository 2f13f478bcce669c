int trial();

int main() { return trial(); }
